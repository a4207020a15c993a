"""What the synthetic streets are made of: shapes, layout, drawing, motion and label noise. NumPy and OpenCV only."""
