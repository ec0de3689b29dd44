"""Problems that vkit draws itself, with exact answers."""
