"""What tests of several kinds share: surroundings, the engine, study repositories."""
