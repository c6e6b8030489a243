"""Neural networks trained by noisy gradients; torch is imported when the first is made."""
