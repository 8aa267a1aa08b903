"""Why a network says what it says: views of a `Trace`, Captum's methods, and whether a map can be trusted."""

from explorer.attribution.channels import Kernels, TopImages, kernels, top_images
from explorer.attribution.explanation import Attribution, Share, as_map, explain, seconds_per_pass
from explorer.attribution.faithfulness import (
    READINGS,
    CascadingRandomisation,
    PerturbationCurve,
    cascading_randomisation,
    perturbation_curve,
    spearman,
)
from explorer.attribution.methods import METHODS, Cost, Method, Parameter, cost, note, parameters_of
from explorer.views import (
    LayerProfile,
    channel_statistics,
    channel_weights,
    distances,
    enlarge,
    extent,
    grad_cam,
    magnitude,
    profile,
    raw_arrays,
    relative_distance,
    saliency,
    share_on_object,
    shared_axis,
    shared_tops,
    top_classes,
    zero_reason,
)
