"""What the operator looks at: health, metrics, open holds, queues, dead letters, trial balance, reconciliation."""
