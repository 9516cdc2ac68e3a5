"""Networks pretrained on other images: their features, and fine-tuning."""
