"""Robot policies: the joint video-action model, its baselines, fine-tuning and evaluation."""
