"""The parts of a report's chapter, drawn on the page: both show the same charts, tables and sentences."""

from collections.abc import Sequence

import streamlit as st

from explorer.figures import Chart, Gallery, Part, Table
from explorer.ui import lesson
from explorer.ui.charts import chart
from explorer.ui.markdown import as_text, table


def draw(parts: Sequence[Part], key: str, source: str = "") -> None:
    """Draws sentences, tables and charts, whose title is only an `alt` where they have no text. `source` stands below a
    chart that is saved."""
    narrow = [part for part in parts if isinstance(part, Chart) and part.figure.layout.width]
    for index, part in enumerate(parts):
        if part in narrow:
            if part is narrow[0]:
                with st.container(horizontal=True, gap="medium"):
                    for each in narrow:  # side by side, where the window is wide enough
                        with st.container(width=each.figure.layout.width):
                            draw_chart(each, f"{key}-{parts.index(each)}", source)
        elif isinstance(part, str):
            lesson.explain(as_text(part))
        elif isinstance(part, Table):
            draw_table(part)
        elif isinstance(part, Gallery):
            draw_gallery(part)
        elif isinstance(part, Chart):
            draw_chart(part, f"{key}-{index}", source)


def draw_chart(part: Chart, key: str, source: str = "") -> None:
    if part.text:
        st.markdown(f"**{as_text(part.title)}.** {as_text(part.text)}")
    chart(part.figure, key, part.title, name=part.title, source=f"{source} {part.text}".strip())


def draw_gallery(part: Gallery) -> None:
    with st.container(horizontal=True, gap="medium"):
        for picture in part.pictures:
            width = picture.pixels.shape[1]
            with st.container(width=width):
                title, *lines = picture.lines
                st.image(picture.pixels, output_format="PNG", width=width, alt=", ".join(picture.lines))
                st.markdown("  \n".join([f"**{as_text(title)}**", *map(as_text, lines)]))


def draw_table(part: Table) -> None:
    heads, *rows = [[*map(as_text, row)] for row in (part.columns, *part.rows)]
    st.markdown(table(heads, rows, part.texts))
