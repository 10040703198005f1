"""``python -m knowledge_plugin``: the command line."""

from knowledge_plugin.cli.main import app

if __name__ == "__main__":
    app(prog_name="knowledge-plugin")
