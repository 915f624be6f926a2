"""Amazon States Language: what a definition says, checked and frozen. Pure."""
