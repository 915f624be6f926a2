"""What people see behind a link. No web framework: bytes in, bytes out."""
