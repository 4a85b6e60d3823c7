"""The fitting process: found, started, listened to, cancelled, killed, and never left behind."""

import gc
import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
import unittest
from pathlib import Path
from unittest import mock

import numpy as np
from IVIMTestScene import IN_DESKTOP, SceneTest, obliqueGeometry

import ivimcore
from ivimcore.errors import InputError
from ivimcore.jobs.job import Job, Request
from IVIMMappingLib import PythonExecutable
from IVIMMappingLib.PythonExecutable import PythonSearch, candidates, pythonExecutable, workerEnvironment
from IVIMMappingLib.RawNrrd import readRaw, writeImage, writeImages
from IVIMMappingLib.VolumeReading import readVolumes
from IVIMMappingLib.WorkerProcess import WorkerProcess

B = (0.0, 10.0, 20.0, 60.0, 150.0, 400.0, 800.0)


def exists(pid):
    """Whether a process is there and is not only waiting to be noticed as ended."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"


class WorkerProcessTestCase(SceneTest):
    def job(self, voxels=(6, 5, 4), estimator="nlls", **changes):
        geometry = obliqueGeometry(voxels)
        b = np.array(B)
        random = np.random.default_rng(0)
        signal = [
            500 * (0.8 * np.exp(-x * 1e-3) + 0.2 * np.exp(-x * 0.05)) + random.normal(0, 2, voxels) for x in b
        ]
        list(writeImages(self.folder / "series.nrrd", signal, b.size, geometry))
        return Job(**{
            "inputs": (str(self.folder / "series.nrrd"),), "out": str(self.folder / "maps"), "bvalues": B,
            "mask": "none", "estimators": (Request(estimator),), "file_format": "nrrd", "compress": False, **changes,
        })

    def start(self, job):
        process = WorkerProcess(job, self.folder)
        process.start()
        self.addCleanup(process.kill)
        return process

    def collect(self, process, seconds=60, until=lambda event: False):
        events, end = [], time.monotonic() + seconds
        while process.isRunning():
            self.assertLess(time.monotonic(), end, "the process takes too long")
            for event in process.poll():
                events.append(event)
                if until(event):
                    return events
            time.sleep(0.01)
        return events

    def test_job_runs_and_says_what_it_does(self):
        process = self.start(self.job())
        events = self.collect(process)
        self.assertEqual(process.returnCode, 0)
        self.assertEqual(events[-1]["event"], "result")
        fractions = [event["fraction"] for event in events if event["event"] == "progress"]
        self.assertEqual(fractions, sorted(fractions))
        self.assertEqual(fractions[-1], 1.0)
        values = readRaw(self.folder / "maps" / "D.nrrd", (6, 5, 4))
        self.assertAlmostEqual(float(np.median(values)), 1e-3, delta=1e-4)
        self.assertEqual(process.poll(), [])

    def test_wrong_input_is_told_in_a_sentence_with_advice(self):
        process = self.start(self.job(bvalues=B[:-1]))
        events = self.collect(process)
        self.assertEqual(process.returnCode, 2)
        self.assertEqual(events[-1]["event"], "error")
        self.assertIn("6 b-values", events[-1]["sentence"])
        self.assertTrue(events[-1]["advice"])

    def test_cancelled_process_ends_and_leaves_no_output(self):
        process = self.start(self.job((60, 60, 12), "posterior"))
        self.collect(process, until=lambda event: event.get("text", "").startswith("Fitting"))
        process.cancel()
        self.collect(process, 60)
        self.assertNotEqual(process.returnCode, 0)
        self.assertFalse((self.folder / "maps").exists())

    @unittest.skipIf(os.name == "nt", "signals of Unix")
    def test_process_that_ignores_the_wish_to_stop_is_killed(self):
        process = self.start(self.job((60, 60, 12), "posterior"))
        self.collect(process, until=lambda event: True)
        os.kill(process.processId, signal.SIGSTOP)
        process.cancel()
        self.collect(process, 60)
        self.assertEqual(process.returnCode, -signal.SIGKILL)

    @unittest.skipIf(os.name == "nt", "signals of Unix")
    def test_process_killed_from_outside_is_noticed(self):
        process = self.start(self.job((60, 60, 12), "posterior"))
        self.collect(process, until=lambda event: event.get("text", "").startswith("Fitting"))
        os.kill(process.processId, signal.SIGKILL)
        self.collect(process, 5)
        self.assertEqual(process.describeEnd(), "signal 9, SIGKILL")

    def test_poll_never_waits(self):
        process = self.start(self.job((60, 60, 12), "posterior"))
        for _ in range(200):
            process.poll()
        self.assertTrue(process.isRunning(), "two hundred looks take less than a fit of seconds")
        process.kill()
        self.assertFalse(process.isRunning())

    @unittest.skipUnless(sys.platform.startswith("linux"), "looks into /proc")
    def test_forgotten_process_ends(self):
        process = WorkerProcess(self.job((60, 60, 12), "posterior"), self.folder)
        process.start()
        pid = process.processId
        self.assertTrue(exists(pid))
        del process
        gc.collect()
        self.assertFalse(exists(pid))

    @unittest.skipIf(IN_DESKTOP or not sys.platform.startswith("linux"), "starts a plain Python, looks into /proc")
    def test_no_orphan_is_left_when_the_owner_is_killed(self):
        (self.folder / "saved.json").write_text(self.job((60, 60, 12), "posterior").to_json(), encoding="utf-8")
        owner = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent("""
                import sys, time
                from ivimcore.jobs.job import Job
                from IVIMMappingLib.WorkerProcess import WorkerProcess
                folder = sys.argv[1]
                process = WorkerProcess(Job.from_json(open(folder + "/saved.json").read()), folder)
                process.start()
                while not process.poll():
                    time.sleep(0.01)
                print(process.processId, flush=True)
                time.sleep(60)
            """), str(self.folder)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8", env=workerEnvironment(),
        )  # fmt: skip
        self.addCleanup(owner.stdout.close)
        pid = int(owner.stdout.readline())
        owner.kill()
        owner.wait()
        end = time.monotonic() + 5
        while exists(pid) and time.monotonic() < end:
            time.sleep(0.05)
        self.assertFalse(exists(pid))

    def test_python_is_one_that_imports_what_a_fit_needs(self):
        program = "import sys, ivimcore, numpy, scipy; print(ivimcore.__file__, *sys.version_info[:2])"
        text = subprocess.run(
            [pythonExecutable(), "-c", program],
            env=workerEnvironment(), capture_output=True, encoding="utf-8", check=True, cwd=self.folder,
        ).stdout.split()
        self.assertEqual(Path(text[0]).resolve(), Path(ivimcore.__file__).resolve())
        self.assertEqual((int(text[1]), int(text[2])), sys.version_info[:2])

    @unittest.skipIf(os.name == "nt", "shell scripts")
    def test_candidate_of_another_version_is_passed_over(self):
        wrong = self.folder / "python-wrong"
        wrong.write_text("#!/bin/sh\necho usable 2 7\n", encoding="ascii")
        broken = self.folder / "python-broken"
        broken.write_text("#!/bin/sh\nexit 1\n", encoding="ascii")
        for path in (wrong, broken):
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        with mock.patch.object(PythonExecutable, "_found", []), mock.patch.object(
            PythonExecutable, "candidates", lambda: [str(wrong), str(broken), *candidates()]
        ):
            self.assertNotIn(pythonExecutable(), (str(wrong), str(broken)))

    @unittest.skipIf(IN_DESKTOP, "pretends to be a desktop without PythonSlicer")
    def test_desktop_without_pythonslicer_is_served_by_the_base_python(self):
        # Slicer itself is sys.executable then, and must never be started.
        with mock.patch.object(sys, "executable", "/opt/Slicer/bin/SlicerApp-real"), mock.patch.object(
            sys, "_base_executable", "/opt/Slicer/bin/SlicerApp-real"
        ), mock.patch.object(PythonExecutable, "_found", []), mock.patch.dict(os.environ, {"PATH": "/nowhere"}):
            self.assertFalse([path for path in candidates() if "SlicerApp" in path])
            self.assertTrue(Path(pythonExecutable()).is_file())

    def test_without_any_python_a_sentence_says_what_to_do(self):
        with mock.patch.object(PythonExecutable, "_found", []), mock.patch.object(
            PythonExecutable, "candidates", lambda: []
        ), self.assertRaisesRegex(InputError, "PythonSlicer"):
            search = PythonSearch()
            while not search.poll():
                pass

    def test_raw_images_are_read_by_every_reader_on_the_same_grid(self):
        geometry = obliqueGeometry((6, 5, 4))
        values = np.random.default_rng(1).normal(size=(6, 5, 4, 3)).astype(np.float32)
        values[1, 2, 3, 0] = np.nan
        list(writeImages(self.folder / "a.nrrd", np.moveaxis(values, 3, 0), 3, geometry))
        back, grid = readVolumes(self.folder / "a.nrrd")
        np.testing.assert_array_equal(back, values)
        np.testing.assert_allclose(grid.affine, geometry.affine, atol=1e-9)
        writeImage(self.folder / "b.nrrd", values[..., 0] > 0, geometry, "u1")
        np.testing.assert_array_equal(readRaw(self.folder / "b.nrrd", (6, 5, 4)), values[..., 0] > 0)
        with self.assertRaisesRegex(InputError, "voxels"):
            readRaw(self.folder / "b.nrrd", (5, 6, 4))

    def test_short_file_is_refused(self):
        path = self.folder / "short.nrrd"
        writeImage(path, np.zeros((6, 5, 4), np.float32), obliqueGeometry((6, 5, 4)))
        path.write_bytes(path.read_bytes()[:-400])
        with self.assertRaisesRegex(InputError, "shorter"):
            readRaw(path, (6, 5, 4))
