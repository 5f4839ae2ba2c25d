"""What is shown: charts, and generated text made harmless on a terminal."""
