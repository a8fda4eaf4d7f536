"""Packaging for pip; package.xml and CMakeLists.txt serve colcon."""

from pathlib import Path

from setuptools import find_packages, setup

TORCH = ["torch==2.13.0", "transformers>=5.20,<6"]
SIM = ["mujoco>=3.17", "scipy>=1.13"]
EVAL = ["faster-coco-eval>=1.8", "pycocotools>=2.0.11"]

setup(
    name="vl2_ros",
    version="0.1.0",
    description="Ask a robot's camera in words, get typed results: VisionLLM v2 for ROS 2",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["vl2_ros", "vl2_ros.*"]),
    package_data={
        "vl2_ros": [
            "py.typed",
            "embedded/*.json",
            "embedded/*.safetensors",
            "embedded/demo/*",
            "evaluation/*.tsv",
        ]
    },
    install_requires=[
        "mcap>=1.2",
        "numpy>=2.0",
        "opencv-python-headless>=4.10",
        "pillow>=11",
        "rich>=13.9",
        "rosbags>=0.11",
        "safetensors>=0.5",
        "tokenizers>=0.22",
        "typer>=0.15",
    ],
    extras_require={
        "torch": TORCH,
        "release": ["sentencepiece>=0.2", "protobuf>=5"],
        "sim": SIM,
        "train": [*TORCH, *SIM],
        "eval": [*TORCH, *SIM, *EVAL],
        "dev": [
            "hypothesis>=6.100",
            "import-linter>=2.1",
            "mypy>=1.14",
            "pytest>=8.3",
            "ruff>=0.9",
        ],
    },
    entry_points={"console_scripts": ["vl2 = vl2_ros.cli:main"]},
    zip_safe=False,
)
