"""What people look at after a run: token heat-maps, attention drawn over pictures, and one HTML page."""
