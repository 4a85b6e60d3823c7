"""The phantom is made here, quickly, with its regions, and is offered as sample data where Slicer has that module."""

import sys
import types
from unittest import mock

import numpy as np
import slicer
from IVIMTestScene import IN_DESKTOP, SceneTest

from ivimcore.errors import InputError
from ivimcore.evaluation.demo import REGIONS
from ivimcore.physics.phantom import abdomen
from IVIMMappingLib import PhantomSample
from IVIMMappingLib.RegionChoice import chooseRegion
from IVIMMappingLib.SeriesReader import readSeries

SMALL = (32, 32, 4)


class PhantomSampleTestCase(SceneTest):
    def test_phantom_has_the_size_of_a_real_series(self):
        sequence, _, _ = PhantomSample.createPhantomSeries(self.scene, self.applicationLogic)
        series = readSeries(sequence)
        self.assertEqual((series.geometry.shape, series.count), ((144, 144, 18), 12))

    def test_phantom_in_the_scene_is_that_of_the_core(self):
        sequence, proxy, regions = PhantomSample.createPhantomSeries(self.scene, self.applicationLogic, SMALL, seed=4)
        phantom = abdomen(shape=SMALL, seed=4)
        series = readSeries(proxy)
        self.assertIs(series.node, sequence)
        np.testing.assert_array_equal(series.signal(), phantom.signal)
        np.testing.assert_array_equal(series.bvalues, phantom.acquisition.bvalues)
        self.assertIn("protocol of the digital phantom", series.source)
        region = chooseRegion(series, "segments", regions)
        self.assertEqual(PhantomSample.REGIONS, REGIONS)
        for label, name in phantom.names.items():
            if name in REGIONS:
                np.testing.assert_array_equal(region.masks[name], phantom.labels == label)
        self.assertEqual(region.notes, ())

    def test_second_phantom_is_told_apart_by_its_name(self):
        nodes = [PhantomSample.createPhantomSeries(self.scene, self.applicationLogic, SMALL)[0] for _ in range(2)]
        self.assertNotEqual(nodes[0].GetName(), nodes[1].GetName())

    def test_shape_that_cannot_hold_the_phantom_is_refused(self):
        before = self.scene.GetNumberOfNodes()
        with self.assertRaisesRegex(InputError, "at least 32"):
            PhantomSample.createPhantomSeries(self.scene, self.applicationLogic, (8, 8, 2))
        self.assertEqual(self.scene.GetNumberOfNodes(), before)

    def test_registration_names_no_file_that_could_be_downloaded(self):
        if IN_DESKTOP:
            import SampleData

            self.assertTrue(PhantomSample.registerPhantom())
            source = SampleData.SampleDataLogic().sourceForSampleName(PhantomSample.SAMPLE_NAME)
            self.assertEqual(len(source.uris), 0)
            self.assertIs(source.customDownloader, PhantomSample.loadSample)
            return
        self.assertFalse(PhantomSample.registerPhantom())
        logic = mock.Mock()
        logic.sampleDataSourcesByCategory.return_value = []
        old = types.SimpleNamespace(sampleName=PhantomSample.SAMPLE_NAME, customDownloader=None)
        with mock.patch.dict(sys.modules, {"SampleData": types.SimpleNamespace(SampleDataLogic=logic)}):
            self.assertTrue(PhantomSample.registerPhantom())
            logic.sampleDataSourcesByCategory.return_value = [old]
            self.assertTrue(PhantomSample.registerPhantom())  # as after a reload of the module
        self.assertIs(old.customDownloader, PhantomSample.loadSample)
        logic.registerCustomSampleDataSource.assert_called_once()
        keywords = logic.registerCustomSampleDataSource.call_args.kwargs
        self.assertEqual((keywords["category"], keywords["sampleName"]), ("IVIM", "IVIM digital phantom"))
        self.assertEqual((keywords["uris"], keywords["fileNames"], keywords["nodeNames"]), ([], [], []))
        self.assertIs(keywords["customDownloader"], PhantomSample.loadSample)

    def test_button_of_sample_data_makes_the_phantom_and_shows_it(self):
        standIn = types.SimpleNamespace(applicationLogic=lambda: self.applicationLogic)
        application = slicer.app if IN_DESKTOP else standIn
        with (
            mock.patch.object(slicer, "app", application, create=True),
            mock.patch.object(PhantomSample, "abdomen", lambda **_: abdomen(shape=SMALL)),
            mock.patch.object(slicer.util, "setSliceViewerLayers") as show,
        ):
            nodes = PhantomSample.loadSample(object())
        self.assertEqual([node.GetClassName() for node in nodes], [
            "vtkMRMLSequenceNode", "vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode",
        ])
        self.assertIs(show.call_args.kwargs["background"], nodes[1])
