"""From messages to answers, without ROS: pairing, decoding, the thread that answers, and the model that it drives."""
