"""SwarmLLM: run large language models on your own machine, or together with peers."""

__version__ = "0.1.0"
