"""Patients under names that tell nothing: keyed hashes, and dates shifted by a secret.

The key stays in the index of a folder; without it neither a number nor a date can be tested
against what is stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from hashlib import blake2b

MAX_SHIFT = 36_500  # days
SCOPE = (
    "Pseudonyms (P-…) come again only where the same folders are named together by the same user "
    "on the same machine with the same version; of a copy, of other folders, of single files and "
    "with MEDVISION_INDEX=off they are others."
)


@dataclass(frozen=True)
class Pseudonyms:
    """Pseudonyms of one index.

    Parameters
    ----------
    key : bytes
        Random; 16 bytes.
    """

    key: bytes

    def patient(self, patient_id: str, issuer: str = "") -> str:
        """Return the pseudonym of a patient; empty without a number.

        40 bits: of 10,000 patients, two share one by chance once in 20,000 folders.
        """
        return f"P-{self._hash('patient', patient_id, issuer).hex()}" if patient_id else ""

    def day(self, study_date: str, patient_id: str, issuer: str = "") -> int | None:
        """Return a date (YYYYMMDD) in days from an unknown origin, one of each patient's own.

        None when the date or the patient is unknown.
        """
        digits = study_date.replace(".", "")  # YYYY.MM.DD before DICOM 3.0 (PS3.5 6.2)
        try:
            day = date(int(digits[:4]), int(digits[4:6]), int(digits[6:8])).toordinal()
        except ValueError:
            return None
        shift = int.from_bytes(self._hash("day", patient_id, issuer)) % MAX_SHIFT
        return day + shift if patient_id else None

    def _hash(self, *words: str) -> bytes:
        text = "\0".join(words).encode("utf-8", "surrogatepass")
        return blake2b(text, key=self.key, digest_size=5).digest()
