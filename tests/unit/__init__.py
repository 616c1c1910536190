"""Tests of single modules, without other processes."""

from .checked_phase import check_all_phases

check_all_phases()
