"""What the documentation runs beside the product."""
