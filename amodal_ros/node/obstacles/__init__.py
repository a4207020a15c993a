"""The node `amodal_obstacles`: amodal masks in, what planners take out."""
