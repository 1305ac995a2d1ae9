"""One way to fill in the templates of this folder.

Guarantees: a name that a template misses is an error; with ``escape`` everything but
our own style sheet is escaped. Does not import the template engine before it is used:
most commands about the budget need none.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def render(
    template: str,
    values: Mapping[str, Any],
    *,
    filters: Mapping[str, Callable[..., str]],
    escape: bool,
) -> str:
    """The text of ``template``, with ``values`` and our style sheet as ``css``.

    Args:
        template: Name of a file in this folder.
        values: What the template reads, by name.
        filters: Functions that it calls as filters, by name.
        escape: Whether values are escaped for HTML.

    Raises:
        jinja2.TemplateError: The template is absent, or reads a name it is not given.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    css = Markup((HERE / "report.css").read_text(encoding="utf-8"))
    return environment.get_template(template).render(values, css=css)
