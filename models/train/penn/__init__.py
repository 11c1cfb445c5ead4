"""PENN: a patch classifier for enhancing spinal tumours on Gd-enhanced T1, after the paper's specification.

Experimental, validated on drawn patients only, not for diagnosis. README.md of this folder has the method, the readings taken
where the paper contradicts itself, and the scores.
"""
