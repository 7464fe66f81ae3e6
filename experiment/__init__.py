"""What every command needs: errors, settings, run folders, files and seeds."""
