"""The works that the method of a run rests on, as a paper cites them."""

from collections.abc import Iterator

from mien.evaluation.report.folder import Run
from mien.evaluation.report.methods import named, sentences

_FER2013 = "Goodfellow et al. 2013: Challenges in representation learning: a report on three contests. ICONIP."
_AFFECTNET = "Mollahosseini, Hasani & Mahoor 2019: AffectNet. IEEE Transactions on Affective Computing 10."
_CASCADE = "Viola & Jones 2001: Rapid object detection using a boosted cascade of simple features. CVPR."
REFERENCES = {
    "smote": "Chawla, Bowyer, Hall & Kegelmeyer 2002: SMOTE: synthetic minority over-sampling technique. JAIR 16.",
    "borderline-smote": "Han, Wang & Mao 2005: Borderline-SMOTE. Advances in Intelligent Computing.",
    "adasyn": "He, Bai, Garcia & Li 2008: ADASYN: adaptive synthetic sampling. IJCNN.",
    "clahe": "Zuiderveld 1994: Contrast limited adaptive histogram equalization. Graphics Gems IV.",
    "canny": "Canny 1986: A computational approach to edge detection. IEEE TPAMI 8.",
    "viola-jones": _CASCADE,
    "haar": _CASCADE,
    "yunet": "Wu, Peng & Yu 2023: YuNet: a tiny millisecond-level face detector. Machine Intelligence Research 20.",
    "mixup": "Zhang, Cisse, Dauphin & Lopez-Paz 2018: mixup: beyond empirical risk minimization. ICLR.",
    "cutmix": "Yun et al. 2019: CutMix: regularization strategy to train strong classifiers. ICCV.",
    "erasing": "Zhong, Zheng, Kang, Li & Yang 2020: Random erasing data augmentation. AAAI.",
    "noise": "Xie, Luong, Hovy & Le 2020: Self-training with Noisy Student improves ImageNet classification. CVPR.",
    "progressive": "Tan & Le 2021: EfficientNetV2: smaller models and faster training. ICML.",
    "teachers": "Hinton, Vinyals & Dean 2015: Distilling the knowledge in a neural network. arXiv:1503.02531.",
    "triplet": "Schroff, Kalenichenko & Philbin 2015: FaceNet: a unified embedding for face recognition. CVPR.",
    "batch-hard": "Hermans, Beyer & Leibe 2017: In defense of the triplet loss for person re-identification. "
    "arXiv:1703.07737.",
    "bootstrap": "Hesterberg 2015: What teachers should know about the bootstrap. The American Statistician 69.",
    "wilson": "Wilson 1927: Probable inference, the law of succession, and statistical inference. JASA 22.",
    "design": "Korn & Graubard 1998: Confidence intervals for proportions with small expected number of positive "
    "counts estimated from survey data. Survey Methodology 24.",
    "chance": "Bröcker & Smith 2007: Increasing the reliability of reliability diagrams. Weather and Forecasting 22.",
    "uncertain": "Geifman & El-Yaniv 2017: Selective classification for deep neural networks. NeurIPS.",
    "calibration": "Guo, Pleiss, Sun & Weinberger 2017: On calibration of modern neural networks. ICML.",
    "fer2013": _FER2013,
    "oheix": _FER2013,
    "ferplus": "Barsoum, Zhang, Canton Ferrer & Zhang 2016: Training deep networks for facial expression recognition "
    "with crowd-sourced label distribution. ICMI.",
    "ckplus": "Lucey et al. 2010: The extended Cohn-Kanade dataset (CK+). CVPR Workshops.",
    "affectnet": _AFFECTNET,
    "affectnet-hq": _AFFECTNET,
    "rafdb": "Li, Deng & Du 2017: Reliable crowdsourcing and deep locality-preserving learning for expression "
    "recognition in the wild. CVPR.",
    "jaffe": "Lyons, Akamatsu, Kamachi & Gyoba 1998: Coding facial expressions with Gabor wavelets. FG.",
}


def references(run: Run) -> list[str]:
    """The works that the method rests on, by what the run uses; empty where `sentences` is."""
    if not sentences(run):
        return []
    return sorted({REFERENCES[name] for name in _used(run) if name in REFERENCES})


def _used(run: Run) -> Iterator[str]:
    recipe = run.recipe
    yield from ("calibration", *(each["source"] for each in (recipe["data"], *recipe["split"]["clean_against"])))
    for step in [*recipe["chain"], *recipe["balance"]["steps"]]:
        name, parameters = named(step)
        yield name
        yield parameters.get("detector", "")
    yield from (name for name, amount in recipe["augment"].items() if amount)
    yield from (name for name in ("teachers", "progressive") if recipe["fit"][name])
    if triplet := recipe["triplet"]:
        yield from ("triplet", triplet["mining"])
    if recipe["evaluate"]["bootstrap"]:
        yield from ("wilson", "bootstrap", "chance")
        if run.samples is not None and run.samples[["subject", "sequence", "parent"]].notna().any(axis=None):
            yield "design"
    if run.metrics.get("uncertain_below") is not None:
        yield "uncertain"
