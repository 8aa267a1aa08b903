"""Small DICOM files, written by pydicom, of a patient whose name nobody must see."""

import io
from typing import Any

import numpy as np
import pydicom.uid as uids
from pydicom.dataset import Dataset, FileMetaDataset

SECRET = "Doe^Jane"


def element_set(values: np.ndarray, kind: str = "MONOCHROME2", bits: int | None = None, **more: Any) -> Dataset:
    found = Dataset()
    found.PatientName = found.PatientID = SECRET
    found.SOPClassUID, found.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    has_colours = kind in ("RGB", "YBR_FULL_422", "YBR_RCT") and values.ndim == 3
    found.Rows, found.Columns = values.shape[:2] if has_colours else values.shape[-2:]
    found.SamplesPerPixel, found.PhotometricInterpretation = 3 if has_colours else 1, kind
    if has_colours:
        found.PlanarConfiguration = 0
    found.BitsAllocated = 8 * values.itemsize
    found.BitsStored = bits or found.BitsAllocated
    found.HighBit, found.PixelRepresentation = found.BitsStored - 1, int(values.dtype.kind == "i")
    found.PixelData = values.tobytes()
    for name, value in more.items():
        setattr(found, name, value)
    return found


def written(found: Dataset, syntax: str = uids.ExplicitVRLittleEndian) -> bytes:
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = uids.UID(uids.ExplicitVRLittleEndian if syntax == uids.RLELossless else syntax)
    found.file_meta.MediaStorageSOPClassUID = found.SOPClassUID
    found.file_meta.MediaStorageSOPInstanceUID = found.SOPInstanceUID
    if syntax == uids.RLELossless:
        found.compress(syntax)
    file = io.BytesIO()
    found.save_as(file, enforce_file_format=True)
    return file.getvalue()


def file_of(
    values: np.ndarray, kind: str = "MONOCHROME2", syntax: Any = uids.ExplicitVRLittleEndian, **more: Any
) -> bytes:
    return written(element_set(values, kind, **more), syntax)
