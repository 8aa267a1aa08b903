"""Arrays, tables and descriptions in, pictures out: PNG tiles and Plotly figures. Knows no torch and no page."""

from explorer.figures.agreement import (
    MATRIX_CLASSES,
    accuracy_chart,
    agreement_chart,
    confusion_chart,
    object_share_chart,
    similarity_chart,
)
from explorer.figures.charts import DASHES, NETWORK_COLOURS, TEXT_COLOURS, Series, classes_chart, network_colour
from explorer.figures.comparison import (
    Alike,
    Says,
    SizeLine,
    TrainingLine,
    alike_chart,
    cells,
    probabilities_chart,
    sizes_chart,
    training_chart,
)
from explorer.figures.detail import (
    CascadeLine,
    DepthLine,
    cascade_chart,
    depth_chart,
    framed,
    kernel_pictures,
    kernel_sheet,
    signed_overlay,
    trust_chart,
)
from explorer.figures.drawing import network_drawing
from explorer.figures.gradient_flow import FlowKey, FlowLine, flow_span, gradient_flow_chart
from explorer.figures.gradients import ZERO, GradientMap, decades, paint_gradients, size_table
from explorer.figures.report import Chapter, Chart, Strip, Table, Thumbnail, report_html
from explorer.figures.tiles import (
    DIVERGING,
    SEQUENTIAL,
    ColourScale,
    colour_bar,
    data_uri,
    nearest,
    overlay,
    palette,
    png,
    reduced,
    shares,
    sheet,
    shown,
    signed_shares,
    tile,
)
