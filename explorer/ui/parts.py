"""The parts of a report's chapter, drawn on the page: both show the same charts, tables and sentences."""

from collections.abc import Sequence

import streamlit as st

from explorer.figures import Chart, Part, Table
from explorer.ui import lesson
from explorer.ui.charts import chart
from explorer.ui.markdown import as_text, table


def draw(parts: Sequence[Part], key: str, source: str = "") -> None:
    """Draws sentences, tables and charts, whose title is only an `alt` where they have no text. `source` stands below a
    chart that is saved."""
    for index, part in enumerate(parts):
        if isinstance(part, str):
            lesson.explain(as_text(part))
        elif isinstance(part, Table):
            draw_table(part)
        elif isinstance(part, Chart):
            if part.text:
                st.markdown(f"**{as_text(part.title)}.** {as_text(part.text)}")
            chart(part.figure, f"{key}-{index}", part.title, name=part.title, source=f"{source} {part.text}".strip())


def draw_table(part: Table) -> None:
    heads, *rows = [[*map(as_text, row)] for row in (part.columns, *part.rows)]
    st.markdown(table(heads, rows, part.texts))
