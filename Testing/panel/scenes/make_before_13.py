"""How before_13.mrb was made: run by the tree of commit 29df5c1, whose saved scenes must open.

In a checkout of that commit: PYTHONPATH=.:Testing/panel python make_before_13.py before_13.mrb
All volumes are those of a small virtual patient.
"""

import json
import sys

import host
from scans import add_volume, show_tab

from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.registry import METHODS

SIZE = (20, 24, 16)
NAMES = {"pre": "T1 pre", "post": "T1 post Gd", "low": "T1 low dose"}

made = host.start()
panel = made.open_module().panel
tab, patient = panel.synthesise, sample_patient(size=SIZE)
nodes = {role: add_volume(name, patient.scans[role]) for role, name in NAMES.items()}

from ContrastSynthPanel import bridge

brain = patient.scans["pre"].with_array(patient.brain)
mask = bridge.mask_to_segmentation(made.scene, brain, nodes["pre"], "brain")
host.settled(panel)


def show(method, preset=None):
    host.pick(tab.form.method_combo, METHODS[method].title)
    if preset:
        host.pick(tab.parameters.preset_combo, preset)
    host.pick(tab.inputs.selectors["mask"], mask)


def apply():
    host.press(tab.run.apply_button)
    host.pump(lambda: not tab.run.running, 120.0)
    assert tab.run.message.plainText.startswith("Done"), tab.run.message.plainText


show("physics_dose")
host.type_text(tab.parameters.fields["dose"].widget, "0.25")
apply()
show("lip_car", "Signal equation")
host.type_text(tab.parameters.fields["iterations"].widget, "6")
apply()
show("sphere", "Fast")
host.pick(tab.form.weights.combo, host.entries(tab.form.weights.combo)[1])
tab.form.device.widget.collapsed = False
host.pick(tab.form.device.combo, "CPU")
apply()
uptake = show_tab(panel, "uptake")
uptake.threshold.value = 0.2
host.press(uptake.show_button)
host.pick(show_tab(panel, "quality").normalise_combo, "As they are")
show_tab(panel, "inversion").iterate.value = 3.0
panel.save()
assert made.scene.WriteToMRB(sys.argv[1])
print(
    json.dumps({key: one.state() for key, one in panel.tabs.items()}, default=lambda n: n.GetName())
)
made.clean()
made.end()
