"""Plotly figures, PNG tiles and the HTML report, from arrays, tables and descriptions."""

from explorer.figures.agreement import (
    MATRIX_CLASSES,
    accuracy_chart,
    agreement_chart,
    confusion_chart,
    largest_mistake,
    object_share_chart,
    similarity_chart,
)
from explorer.figures.along_time import settling_chart, steps_chart
from explorer.figures.changed_pictures import dial_chart, distance_chart, robust_chart, shift_chart
from explorer.figures.charts import DASHES, NETWORK_COLOURS, TEXT_COLOURS, Series, enlarged, network_colour
from explorer.figures.comparison import (
    ClassProbabilities,
    DepthCurves,
    StepLine,
    TrainingLine,
    map_similarity_chart,
    probabilities_chart,
    sizes_chart,
    step_chart,
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
from explorer.figures.geometry import (
    branch_chart,
    correlation_chart,
    neighbours_chart,
    path_chart,
    path_size_chart,
)
from explorer.figures.gradients import (
    ZERO,
    GradientMap,
    SizeLine,
    decades,
    enclosing_decades,
    gradient_map_chart,
    paint_gradients,
    size_chart,
    size_table,
    update_chart,
)
from explorer.figures.lesions import all_places, lesion_chart, lesion_loss_chart, pairs_chart, sets_chart
from explorer.figures.network_diagram import network_drawing
from explorer.figures.pointing import pointing_chart
from explorer.figures.raster import (
    DIVERGING,
    SEQUENTIAL,
    ColourScale,
    as_rgb,
    average_pool,
    cells,
    colour_bar,
    data_uri,
    fit_to_screen,
    overlay,
    palette,
    png,
    quantise_signed,
    quantise_sizes,
    sheet,
    tile,
    upscale_nearest,
)
from explorer.figures.report import Chapter, Chart, Details, Gallery, Part, Strip, Table, Thumbnail, report_html
from explorer.figures.studies import StudyLine, StudyPanel, difference_chart, mean_words, study_chart
from explorer.figures.surfaces import SurfacePanel, surface_curves, surface_maps, surface_scene
