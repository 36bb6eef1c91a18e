"""Sphinx extension: no launch buttons until `repository: url:` in _config.yml holds a public address.

The theme can't make a button for an empty address, and stops the build instead.
"""


def drop_launch_buttons(app, config):
    """Forget `launch_buttons:` if there is nothing to launch from."""
    if not config.html_theme_options.get("repository_url"):
        config.html_theme_options["launch_buttons"] = {}


def setup(app):
    """Called by Sphinx."""
    app.connect("config-inited", drop_launch_buttons)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
