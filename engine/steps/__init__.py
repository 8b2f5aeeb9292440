"""The jobs; `engine.run` finds `engine.steps.<verb>` by the job's verb."""
