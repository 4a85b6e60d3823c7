"""torch is looked up, never imported, and offered once through Slicer's PyTorch extension."""

import importlib.util
import sys
import types
from unittest import mock

from IVIMTestPanel import PanelTest

from ivimcore import InputError
from ivimcore.jobs.job import Request

TORCH = Request("posterior", {"backend": "torch"})


class TorchOfferTestCase(PanelTest):
    def setUp(self):
        super().setUp()
        from IVIMMappingLib import TorchOffer  # after the stand-ins, which bring slicer.i18n

        self.offer = TorchOffer

    def _installed(self, *names):
        """Pretend that exactly these of torch and PyTorchUtils are there."""
        find = importlib.util.find_spec

        def look(name, *rest):
            if name in ("torch", "PyTorchUtils"):
                return object() if name in names else None
            return find(name, *rest)

        return mock.patch("importlib.util.find_spec", look)

    def test_only_estimators_that_compute_with_torch_need_it(self):
        self.assertEqual(self.offer.needsTorch((Request("nlls"), Request("posterior"), TORCH)), ["posterior"])

    def test_without_the_extension_the_sentence_names_it(self):
        with self._installed():
            self.assertIn("install the extension 'PyTorch'", self.offer.offerTorch())

    def test_the_extension_is_asked_once_and_asks_the_person(self):
        asked = []

        class Logic:
            def installTorch(self, askConfirmation, torchVersionRequirement):
                asked.append((askConfirmation, torchVersionRequirement))
                return None  # the person declined

        utils = types.ModuleType("PyTorchUtils")
        utils.PyTorchUtilsLogic = Logic
        with mock.patch.dict(sys.modules, PyTorchUtils=utils), self._installed("PyTorchUtils"):
            self.assertIn("not installed", self.offer.offerTorch())
        self.assertEqual(asked, [(True, self.offer.OLDEST)])

    def test_nothing_is_asked_where_torch_is_there(self):
        with self._installed("torch"):
            self.assertEqual(self.offer.offerTorch(), "")

    def test_a_script_is_refused_with_the_way_out(self):
        with self._installed(), self.assertRaisesRegex(InputError, "extension 'PyTorch'"):
            self.offer.requireTorch((TORCH,))
        with self._installed("torch"):
            self.offer.requireTorch((TORCH,))

    def test_opening_the_panel_loads_no_torch(self):
        self.openModule()
        self.assertTorchWasNotLoaded()
