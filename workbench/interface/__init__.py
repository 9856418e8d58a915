"""What makes functions public: arguments that are checked, modules that can be called."""
