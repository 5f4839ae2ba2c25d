"""Sharing: models pushed to and pulled from folders, web addresses and the Hugging Face hub."""
