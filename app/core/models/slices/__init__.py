"""Windows onto a model's layers: which cuts are allowed, and which files llama.cpp needs for one."""
