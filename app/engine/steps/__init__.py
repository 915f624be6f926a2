"""What one signal makes of an execution. Pure: values in, a transition out."""
