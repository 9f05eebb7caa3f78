"""Small datasets written in published layouts; every picture has a grey of its own, so that it can be told again."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from mien.data.samples import Samples

Facts = tuple[str, str | None, str | None, str | None]


@dataclass
class Album:
    """The pictures below `root` and, by their grey, the label, split, subject and sequence to be reported."""

    root: Path
    facts: dict[int, Facts] = field(default_factory=dict)

    def grey(
        self, label: str, split: str | None = None, subject: str | None = None, sequence: str | None = None
    ) -> int:
        """Note a picture and return its grey."""
        value = 3 * len(self.facts) + 3
        self.facts[value] = (label, split, subject, sequence)
        return value

    def picture(self, path: str, label: str, split: str | None = None, **facts: str) -> None:
        """Write a picture and note its facts."""
        self.write(path, self.grey(label, split, **facts))

    def write(self, path: str, value: int) -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(cv2.imencode(place.suffix, np.full((48, 48), value, np.uint8))[1].tobytes())

    def text(self, path: str, text: str) -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")


def facts(samples: Samples) -> dict[int, Facts]:
    """What a source reports, by the grey of each picture."""
    rows = samples.table[["label", "split", "subject", "sequence"]].astype(object)
    rows = rows.where(rows.notna(), None).itertuples(index=False, name=None)
    greys = [round(float(samples.reader.read(image).mean()) / 3) * 3 for image in samples.table["image"]]
    return dict(zip(greys, rows, strict=True))


FER = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
FER_CANONICAL = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
USAGE = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}
FERPLUS_FOLDERS = {"Training": "FER2013Train", "PublicTest": "FER2013Valid", "PrivateTest": "FER2013Test"}
VOTES_HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"
RAF = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")


def pixels(value: int) -> str:
    return " ".join([str(value)] * 2304)


def fer2013_kaggle(album: Album) -> None:
    rows = [
        f"{code},{pixels(album.grey(name, split))},{usage}\n"
        for usage, split in USAGE.items()
        for code, name in enumerate(FER_CANONICAL)
    ]
    album.text("fer2013.csv", "emotion,pixels,Usage\n" + "".join(rows))


def fer2013_icml(album: Album) -> None:
    rows = [f"3,{usage},{pixels(album.grey('happiness', split))}\n" for usage, split in USAGE.items()]
    album.text("icml_face_data.csv", "emotion, Usage, pixels\n" + "".join(rows))


def fer2013_folders(album: Album) -> None:
    for usage, split in USAGE.items():
        for name, canonical in zip(FER, FER_CANONICAL, strict=True):
            above = "train" if split == "train" else "test"
            album.picture(f"{above}/{name}/{usage}_{len(album.facts):08d}.png", canonical, split)


def oheix(album: Album) -> None:
    for split in ("train", "validation"):
        for name, canonical in zip(FER, FER_CANONICAL, strict=True):
            album.picture(f"images/{split}/{name}/{len(album.facts)}.jpg", canonical, split)


def ferplus_folders(album: Album) -> None:
    lines = []
    for usage, split in USAGE.items():
        for label, votes in (("neutral", "8,0,0,1,1,0,0,0,0,0"), ("contempt", "0,0,0,0,2,0,0,8,0,0")):
            name = f"fer{len(lines):07d}.png"
            album.picture(f"{FERPLUS_FOLDERS[usage]}/{name}", label, split)
            lines.append(f"{usage},{name},{votes}\n")
    lines.append("PrivateTest,,0,0,0,0,0,0,0,0,0,10\n")
    album.text("fer2013new.csv", VOTES_HEADER + "".join(lines))


def ferplus_csv(album: Album) -> None:
    rows, votes = [], []
    for number, (usage, split) in enumerate(USAGE.items()):
        rows += [f"0,{pixels(255)},{usage}\n", f"4,{pixels(album.grey('sadness', split))},{usage}\n"]
        votes += [f"{usage},,0,0,0,0,0,0,0,0,0,10\n", f"{usage},fer{number:07d}.png,0,0,0,9,0,1,0,0,0,0\n"]
    album.text("fer2013.csv", "emotion,pixels,Usage\n" + "".join(rows))
    album.text("fer2013new.csv", VOTES_HEADER + "".join(votes))


def folders_plain(album: Album) -> None:
    for name in ("Angry", "HAPPY", "contempt"):
        album.picture(f"{name}/a b.png", {"Angry": "anger", "HAPPY": "happiness"}.get(name, name))
    album.picture("contempt/deeper/é.jpg", "contempt")
    album.text("contempt/notes.txt", "not a picture")
    album.text("__MACOSX/._x.png", "")


def folders_split(album: Album) -> None:
    for above, split in (("train", "train"), ("val", "validation"), ("test", "test")):
        album.picture(f"{above}/sad/1.png", "sadness", split)
        album.picture(f"{above}/joy/1.png", "happiness", split)


def manifest_csv(album: Album) -> None:
    album.picture("some where/один.png", "anger", "train", subject="p1")
    album.picture("b.png", "happiness", "validation", subject="p2")
    album.picture("c.png", "happiness")
    album.text(
        "manifest.csv",
        "path,label,subject,split\nsome where/один.png,Angry,p1,train\nb.png,joy,p2,val\nc.png,happy,,\n",
    )


def manifest_parquet(album: Album) -> None:
    album.picture("a.png", "fear", subject="7", sequence="7_1")
    album.root.mkdir(exist_ok=True)
    rows = pd.DataFrame({"path": ["a.png"], "label": ["fear"], "subject": [7], "sequence": ["7_1"]})
    rows.to_parquet(album.root / "manifest.parquet")


def ck48(album: Album) -> None:
    for name in ("anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise"):
        for frame in (15, 16, 17):
            label = "happiness" if name == "happy" else name
            album.picture(f"CK+48/{name}/S010_004_{frame:08d}.png", label, subject="S010", sequence="S010_004")


def ckplus_originals(album: Album) -> None:
    shown = ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
    for number, label in enumerate(shown, 1):
        take, code = f"{number:03d}", f"   {number}.0000000e+00\n"
        folder = f"cohn-kanade-images/S005/{take}"
        for frame in range(1, 6):
            path = f"{folder}/S005_{take}_{frame:08d}.png"
            if frame > 2:
                album.picture(path, label, subject="S005", sequence=f"S005_{take}")
            else:
                album.write(path, 255)
        album.text(f"Emotion/S005/{take}/S005_{take}_00000005_emotion.txt", code)
    album.write("cohn-kanade-images/S005/009/S005_009_00000001.png", 255)
    (album.root / "Emotion/S005/009").mkdir()


def affectnet_hq(album: Album) -> None:
    lines = []
    for number, (folder, label) in enumerate((("anger", "surprise"), ("anger", "anger"), ("happy", "happy"))):
        path = f"{folder}/image{number:07d}.jpg"
        album.picture(path, "happiness" if label == "happy" else label)
        lines.append(f"{number},{path},{label},0.87\n")
    album.text("labels.csv", ",pth,label,relFCs\n" + "".join(lines))


def affectnet(album: Album) -> None:
    for above, split in (("train_set", "train"), ("val_set", "validation")):
        (album.root / above / "annotations").mkdir(parents=True)
        for code, label in enumerate(
            ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
        ):
            album.picture(f"{above}/images/{code}.jpg", label, split)
            np.save(album.root / above / "annotations" / f"{code}_exp.npy", np.array(str(code) if code % 2 else code))
        album.write(f"{above}/images/8.jpg", 255)
        np.save(album.root / above / "annotations" / "8_exp.npy", np.array(10))
        np.save(album.root / above / "annotations" / "0_val.npy", np.array(0.3))


AFFECTNET = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal\n"


def affectnet_lists(album: Album) -> None:
    codes = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
    for name, split, header in (("training", "train", AFFECTNET), ("validation", "validation", "")):
        lines = []
        for code in range(11):
            path = f"{code % 3}/{name}{code}.jpg"
            if code < len(codes):
                album.picture(f"Manually_Annotated_Images/{path}", codes[code], split)
            else:
                album.write(f"Manually_Annotated_Images/{path}", 255)
            lines.append(f"{path},1,2,20,20,1.5;2.5;3.5;4.5,{code},-0.1,0.2\n")
        album.text(f"Manually_Annotated_file_lists/{name}.csv", header + "".join(lines))


def mma(album: Album) -> None:
    for above, split in (("train", "train"), ("valid", "validation"), ("test", "test")):
        for name, canonical in zip(FER, FER_CANONICAL, strict=True):
            album.picture(f"MMAFEDB/{above}/{name}/{len(album.facts)}{name}.jpg", canonical, split)


def rafdb_published(album: Album) -> None:
    lines = []
    for split in ("train", "test"):
        for code, label in enumerate(RAF, 1):
            album.picture(f"basic/Image/aligned/{split}_{code:05d}_aligned.jpg", label, split)
            lines.append(f"{split}_{code:05d}.jpg {code}\n")
    album.text("basic/EmoLabel/list_patition_label.txt", "".join(lines))


def rafdb_originals(album: Album) -> None:
    rafdb_published(album)
    images = album.root / "basic/Image"
    (images / "aligned").rename(images / "original")
    for path in (images / "original").iterdir():
        path.rename(path.with_name(path.name.replace("_aligned", "")))


def rafdb_kaggle(album: Album) -> None:
    for split in ("train", "test"):
        lines = []
        for code, label in enumerate(RAF, 1):
            name = f"{split}_{code:05d}_aligned.jpg"
            album.picture(f"DATASET/{split}/{code}/{name}", label, split)
            lines.append(f"{name},{code}\n")
        album.text(f"{split}_labels.csv", "image,label\n" + "".join(lines))


def jaffe(album: Album) -> None:
    codes = {
        "AN": "anger",
        "DI": "disgust",
        "FE": "fear",
        "HA": "happiness",
        "NE": "neutral",
        "SA": "sadness",
        "SU": "surprise",
    }
    for subject in ("KA", "YM"):
        for number, (code, label) in enumerate(codes.items(), 39):
            album.picture(f"jaffe/{subject}.{code}1.{number}.tiff", label, subject=subject)
    album.text("jaffe/README", "")


TREES: dict[str, list[Callable[[Album], None]]] = {
    "affectnet": [affectnet, affectnet_lists],
    "affectnet-hq": [affectnet_hq],
    "ckplus": [ck48, ckplus_originals],
    "fer2013": [fer2013_kaggle, fer2013_icml, fer2013_folders],
    "ferplus": [ferplus_folders, ferplus_csv],
    "folders": [folders_plain, folders_split],
    "jaffe": [jaffe],
    "manifest": [manifest_csv, manifest_parquet],
    "mma": [mma],
    "oheix": [oheix],
    "rafdb": [rafdb_published, rafdb_originals, rafdb_kaggle],
}
