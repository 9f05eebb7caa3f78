"""What five studies printed: questions, data, settings, figures and claims as in the papers, and reasons for doubt."""

from collections.abc import Mapping

from mien.replay.paper import ClassFigures, Data, Doubt, Figures, Study

RESTORATION_VGG19 = Study(
    title="GFPGAN upscaling for human facial expression classification using VGG19 architecture",
    authors="Fadillah, Aditya",
    year=2025,
    text="000_244c59f2bfa54dfb",
    question="Does restoring a face with GFPGAN before classifying it help?",
    data=Data("MMA Facial Expression (Kaggle), three classes", 3015, {}, "70% training, 15% validation, 15% test"),
    settings={
        "chain": "GFPGAN (512 x 512) or nothing; resize to 224 x 224; divide by 255",
        "augmentation": "rotation, shift, zoom, horizontal flip (amounts not given)",
        "network": "VGG19",
        "epochs": "at most 50",
    },
    decimals=2,
    figures={
        "plain": Figures(0.76, misclassified=111),
        "gfpgan": Figures(0.86, misclassified=65),
    },
    per_class={
        "plain": {
            "anger": ClassFigures(0.88, 0.72, 0.79),
            "happiness": ClassFigures(0.88, 0.76, 0.82),
            "sadness": ClassFigures(0.51, 0.81, 0.63),
        },
        "gfpgan": {
            "anger": ClassFigures(0.88, 0.82, 0.85),
            "happiness": ClassFigures(0.91, 0.87, 0.89),
            "sadness": ClassFigures(0.78, 0.88, 0.83),
        },
    },
    elsewhere={"CNN of Tinaliah & Elizabeth 2021, same data": Figures(0.63)},
    claims=(
        "GFPGAN raises accuracy from 76% to 86%, significantly.",
        "Pictures that were misread without restoration are read right with it (Table 4).",
        "The data set has 3,015 pictures, evenly spread over three classes.",
    ),
    doubts=(
        Doubt("protocol", "One run on one split, about 460 test pictures: each accuracy is known to +-4 points. "
              "No paired test, no repeats; the difference of 46 errors is the only evidence."),
        Doubt("protocol", "Optimiser, learning rate, batch size and amounts of augmentation are not given, nor whether "
              "the weights were pre-trained."),
        Doubt("table", "15% of 3,015 is 452 pictures; 111 errors give 76% accuracy only with 454 pictures or more.",
              ("plain.accuracy", "plain.misclassified")),
        Doubt("table", "On balanced classes, recall / precision averages one; in the plain arm it averages 1.09 (at "
              "least 1.07, allowing for rounding). The test classes cannot be balanced: sadness must be about a fifth.",
              ("plain.sadness.precision",)),
        Doubt("text", "VGG19 is described with 4 pooling and 2 dense layers (it has 5 and 3), and once as VGG18; "
              "accuracy is justified by 'the two classes' in a study with three."),
    ),
)  # fmt: skip

SMOTE_VGG19 = Study(
    title="Optimizing facial expression recognition with image augmentation techniques: "
    "VGG19 approach on FERC dataset",
    authors="Ilmawati, Kusrini, Hidayat",
    year=2024,
    text="001_9a66625eb075c832",
    question="Do generator augmentation, SMOTE and undersampling help an unbalanced set?",
    data=Data(
        "FERC (FER2013), 48 x 48",
        35_887,
        {
            "all": {
                "anger": 4953, "disgust": 547, "fear": 5121, "happiness": 8989,
                "neutral": 6198, "sadness": 6077, "surprise": 4002,
            }
        },
        "balanced to 28,000 samples, then 80% training, 10% validation, 10% test",
    ),
    settings={
        "generator": "rescale 1/255; rotation 30; width and height shift 0.2; shear 0.2; zoom 0.2; horizontal and "
        "vertical flip; fill nearest; on the minority classes, disgust first",
        "balance": "SMOTE on minority classes, then undersampling of the majority",
        "network": "VGG19, its last three layers replaced by dense 1024, ReLU, dropout 0.5, softmax",
        "fit": "Adam, 1e-4 reduced on plateau, 100 epochs, batch 48, checkpoint, early stopping",
    },
    decimals=4,
    figures={
        "before": Figures(0.6273, 0.6353, 0.6365, None, 0.7589, 0.6016, 0.6593, 1.2108),
        "after": Figures(0.7393, 0.6679, 0.6638, None, 0.9939, 0.6114, 0.0172, 1.1510),
    },
    elsewhere={"Prabaswera & Soeparno 2023": Figures(0.7180)},
    claims=(
        "Augmentation, SMOTE and undersampling raise test accuracy from 62.73% to 73.93%.",
        "Augmentation reduced overfitting.",
    ),
    doubts=(
        Doubt("protocol", "SMOTE and augmentation come before the split (p. 4): pictures made from one parent are on "
              "both sides of it."),
        Doubt("protocol", "The two arms are tested on different pictures: before on the natural classes, after on the "
              "balanced and partly synthetic ones."),
        Doubt("table", "Validation and test are 10% samples of the same 28,000, yet validation accuracy is 61.14% and "
              "test accuracy 73.93%: a gap of 12.8 points where chance allows each about 2.",
              ("after.accuracy", "after.validation_accuracy")),
        Doubt("table", "On balanced classes macro recall equals accuracy; the table has 66.38% and 73.93%.",
              ("after.accuracy", "after.recall")),
        Doubt("table", "Training accuracy rises to 99.4% while validation gains one point: more overfitting, not less.",
              ("after.train_accuracy", "after.validation_accuracy")),
        Doubt("text", "The discussion claims 96.09%, a figure that is in no table."),
        Doubt("text", "A rise of recall from 63.65% to 66.38% is called a slight decrease."),
        Doubt("scan", "The output layer has '6 classes' instead of seven; the 'after' row of Table 5 is labelled "
              "'Without Augmentation'; a loss of 0.6593 is read as 65.93%; the comparison table repeats the number 4."),
    ),
)  # fmt: skip

FACENET_TRIPLET = Study(
    title="Adaptive deep learning based on FaceNet convolutional neural network for facial expression recognition",
    authors="Al-Ghiffary, Cahyo, Rachmawanto, Irawan, Hendriyanto",
    year=2024,
    text="002_8f6ff86995036aa3",
    question="Are FaceNet embeddings good for expressions?",
    data=Data(
        "jonathanoheix/face-expression-recognition-dataset (Kaggle), 48 x 48 grey",
        30_487,
        {
            "train": {
                "anger": 3993, "disgust": 436, "fear": 4103, "happiness": 7164,
                "neutral": 4982, "sadness": 4983, "surprise": 3205,
            },
            "validation": {
                "anger": 960, "disgust": 111, "fear": 1018, "happiness": 1825,
                "neutral": 1216, "sadness": 1139, "surprise": 797,
            },
        },
        "80% training, 20% validation, as the data set comes",
    ),
    settings={
        "doubling": "rotation, cropping, x and y shifts; shown: 45 degrees, then 5 px right and 10 px down",
        "network": "convolution 7 x 7, 64, stride 2, padding 3; max-pool 3 x 3, stride 2; inception modules; "
        "dense; L2 normalisation; embedding of 128 or 512",
        "loss": "triplet loss with a margin (size not given)",
        "fit": "8 epochs, batch 16, learning rate 1e-4, validation every 30 iterations",
    },
    decimals=4,
    figures={
        "adam": Figures(0.9996, 1.0, 1.0, 1.0, seconds=16 * 60 + 14),
        "sgd": Figures(0.9991, 1.0, 1.0, 1.0, seconds=12 * 60 + 32),
        "rmsprop": Figures(0.9992, 1.0, 1.0, 1.0, seconds=12 * 60 + 47),
        "mean": Figures(0.9993, 1.0, 1.0, 1.0, seconds=13 * 60 + 51),
        "trial adam, 16 epochs, batch 32": Figures(0.9984),
        "trial sgd, 16 epochs, batch 32": Figures(0.9975),
        "trial rmsprop, 16 epochs, batch 32": Figures(0.9970),
    },
    claims=(
        "FaceNet reaches 99.93% on average over three optimisers, with precision, recall and F1 of 100%.",
        "Training takes 13 minutes 51 seconds on average.",
    ),
    doubts=(
        Doubt("protocol", "These are FER2013's pictures: credible held-out results are 73-77%, people reach about 65%. "
              "No held-out figure can be 99.9%."),
        Doubt("protocol", "The paper does not say how an embedding becomes one of seven answers, nor which triplets "
              "are mined."),
        Doubt("protocol", "The 20% called testing data is the validation split that training evaluated every 30 "
              "iterations."),
        Doubt("table", "The paper counts 4,983 sad training pictures. FER2013 has 6,077 sad pictures, of which 1,139 "
              "are for validation: 4,938 are left, and 28,821 in all, as the introduction says. Two digits are "
              "swapped.",
              ("train.sadness",)),
        Doubt("text", "The text counts 30,487 pictures (p. 3) and 28,821 (p. 2), the table 28,866 + 7,066."),
        Doubt("text", "Augmentation is used, yet also recommended as future work; its amounts are random in the "
              "algorithm and fixed in the figure."),
        Doubt("text", "The comparison puts another study's training accuracy of 90% beside held-out figures; that "
              "study's validation accuracy is 65%."),
    ),
)  # fmt: skip

RESNET50_TRANSFER = Study(
    title="Facial expression recognition using convolutional neural networks with transfer learning Resnet-50",
    authors="Istiqomah, Sari, Susanto, Rachmawanto",
    year=2024,
    text="003_0f778c37e6cd2d25",
    question="Does ImageNet transfer help ResNet-50?",
    data=Data(
        "CK+ faces (Kaggle), 48 x 48 grey",
        680,
        {
            "all": {
                "anger": 35, "contempt": 54, "disgust": 177, "fear": 75, "happiness": 207, "sadness": 84,
                "surprise": 249,
            }
        },
        "80% training, 20% test",
    ),
    settings={
        "chain": "grey; histogram equalisation; Canny edges; Viola-Jones regions on the grey picture; resize 48 x 48",
        "network": "ResNet-50, seven outputs, with ImageNet weights or from scratch",
        "fit": "Adam, learning rate 1e-4, 8 epochs, batch 8",
    },
    decimals=4,
    figures={
        "transfer": Figures(0.9949, 0.9949, 0.9971, 0.9960),
        "scratch": Figures(0.9541, 0.96, 0.9141, 0.9311),
    },
    claims=(
        "Transfer from ImageNet raises accuracy from 95.41% to 99.49% and makes training converge sooner.",
        "The method copes with lighting and viewing angles.",
    ),
    doubts=(
        Doubt("protocol", "CK+48 holds three frames of each sequence: a random split puts neighbouring frames of one "
              "person on both sides."),
        Doubt("protocol", "The whole difference is 8 pictures of 196, on one split and one run."),
        Doubt("protocol", "Edges and face regions are shown, but the paper does not say whether the network saw them; "
              "all faces are from one laboratory, with the same lighting and pose."),
        Doubt("table", "The printed counts add up to 881, the text says 680. With 135 for anger, as in the public "
              "CK+48, they add up to 981, and 20% of that is 196: both accuracies are whole numbers of 196 pictures "
              "(195 and 187).",
              ("all.anger",)),
        Doubt("table", "F1 does not follow from the printed precision and recall (93.65%), though a macro F1 need not.",
              ("scratch.f1",)),
        Doubt("scan", "The F1 formula multiplies in the denominator where it must add; 'fuzzy matrices' are confusion "
              "matrices."),
    ),
)  # fmt: skip

# Rows: none, undersampling, CLAHE + SMOTE; in each train, validation and test accuracy, precision, recall, F1.
_GRID: Mapping[str, tuple[tuple[float, ...], ...]] = {
    "resnet50/scratch": (
        (0.95, 0.68, 0.67, 0.65, 0.65, 0.64),
        (0.99, 0.64, 0.63, 0.65, 0.64, 0.64),
        (1.00, 0.77, 0.75, 0.75, 0.74, 0.74),
    ),
    "resnet50/partial": (
        (0.99, 0.56, 0.55, 0.55, 0.54, 0.54),
        (0.99, 0.55, 0.52, 0.53, 0.51, 0.50),
        (1.00, 0.71, 0.68, 0.69, 0.68, 0.68),
    ),
    "resnet50/pretrained": (
        (0.29, 0.28, 0.30, 0.31, 0.26, 0.22),
        (0.30, 0.29, 0.29, 0.28, 0.27, 0.23),
        (0.31, 0.31, 0.30, 0.30, 0.28, 0.24),
    ),
    "vgg16/scratch": (
        (0.99, 0.72, 0.70, 0.72, 0.72, 0.72),
        (1.00, 0.71, 0.70, 0.70, 0.71, 0.70),
        (1.00, 0.80, 0.79, 0.79, 0.79, 0.79),
    ),
    "vgg16/partial": (
        (1.00, 0.71, 0.69, 0.39, 0.38, 0.37),
        (1.00, 0.71, 0.69, 0.71, 0.72, 0.71),
        (1.00, 0.79, 0.79, 0.78, 0.78, 0.78),
    ),
    "vgg16/pretrained": (
        (0.39, 0.39, 0.38, 0.38, 0.38, 0.37),
        (0.42, 0.39, 0.39, 0.39, 0.38, 0.38),
        (0.43, 0.42, 0.40, 0.34, 0.34, 0.32),
    ),
    "mobilenetv3-large/scratch": (
        (0.99, 0.58, 0.60, 0.50, 0.50, 0.50),
        (0.99, 0.50, 0.52, 0.49, 0.49, 0.49),
        (0.99, 0.69, 0.67, 0.68, 0.68, 0.67),
    ),
    "mobilenetv3-large/partial": (
        (0.98, 0.50, 0.48, 0.41, 0.40, 0.40),
        (0.99, 0.47, 0.45, 0.42, 0.42, 0.41),
        (0.99, 0.65, 0.62, 0.62, 0.62, 0.62),
    ),
    "mobilenetv3-large/pretrained": (
        (0.29, 0.30, 0.30, 0.28, 0.28, 0.26),
        (0.30, 0.29, 0.30, 0.26, 0.26, 0.23),
        (0.33, 0.33, 0.32, 0.27, 0.25, 0.23),
    ),
}

PREPROCESSING_GRID = Study(
    title="Deep learning models comparison for emotion classification with image pre-processing methods",
    authors="Anthony, Lienardi, Sutanto, Dinata",
    year=2025,
    text="004_4f15de6a350b36c1",
    question="Which of network x transfer x data treatment wins?",
    data=Data(
        "Facial Expressions Training Data (Kaggle; from AffectNet-HQ), 96 x 96 grey",
        28_175,
        {
            "all": {
                "anger": 3608, "contempt": 3244, "disgust": 3472, "fear": 3043, "happiness": 4336,
                "neutral": 2861, "sadness": 2995, "surprise": 4616,
            }
        },
        "80% training, 10% validation, 10% test",
    ),
    settings={
        "networks": "ResNet50, VGG16, MobileNetV3-Large",
        "transfer": "from scratch; pre-trained with all but the last layers frozen ('30%'); pre-trained ('100%')",
        "treatments": "none; undersampling to equal classes; CLAHE and SMOTE",
        "fit": "Adam, categorical cross-entropy, 100 epochs, learning rate and batch tuned (values not given)",
    },
    decimals=2,
    figures={
        f"{cell}/{treatment}": Figures(test, precision, recall, f1, train, validation)
        for cell, rows in _GRID.items()
        for treatment, (train, validation, test, precision, recall, f1) in zip(
            ("none", "undersampling", "clahe-smote"), rows, strict=True
        )
    },
    elsewhere={"vgg16/scratch/clahe-smote on FERPlus": Figures(None, 0.68, 0.39, 0.44)},
    claims=(
        "CLAHE with SMOTE raises the test accuracy of VGG16 from scratch from 0.70 to 0.79, and of every network.",
        "VGG16 from scratch with CLAHE and SMOTE is the best of 27 cells.",
        "The whole pre-trained network is fine-tuned in the '100%' arm.",
    ),
    doubts=(
        Doubt("protocol", "SMOTE came before the split. The text quotes 382 right answers for fear and 381 for sadness "
              "on the test split: 10% of those classes is 304 and 300 pictures. Only a test split cut after SMOTE "
              "(462 a class) holds that many, so synthetic test pictures have parents in training.",
              ("vgg16/scratch/clahe-smote.accuracy",)),
        Doubt("protocol", "The three treatments are tested on different pictures, and CLAHE and SMOTE are never tested "
              "separately."),
        Doubt("protocol", "The '100%' arm is said to be fine-tuned in full, but a training accuracy of .29-.43 after "
              "100 epochs is that of a frozen backbone; '30%' is once the trained part, once the frozen part."),
        Doubt("table", "Accuracy .69 with recall .38 is impossible on classes of 10-16% each. The three figures are "
              "within .01 of the pre-trained row below: probably copied.",
              ("vgg16/partial/none.precision", "vgg16/partial/none.recall", "vgg16/partial/none.f1")),
        Doubt("table", "On classes of equal size, recall equals accuracy except for rounding; it is off by .02 to .04 "
              "in five rows with undersampling.",
              ("vgg16/partial/undersampling.recall", "mobilenetv3-large/scratch/undersampling.recall",
               "mobilenetv3-large/partial/undersampling.recall", "mobilenetv3-large/pretrained/undersampling.recall",
               "resnet50/pretrained/undersampling.recall")),
        Doubt("table", "F1 does not follow from the printed precision and recall. A macro F1 need not, if some classes "
              "are hardly ever predicted.",
              ("resnet50/partial/undersampling.f1", "resnet50/pretrained/none.f1",
               "resnet50/pretrained/undersampling.f1", "resnet50/pretrained/clahe-smote.f1",
               "vgg16/partial/none.f1", "vgg16/pretrained/clahe-smote.f1",
               "mobilenetv3-large/pretrained/none.f1", "mobilenetv3-large/pretrained/undersampling.f1",
               "mobilenetv3-large/pretrained/clahe-smote.f1")),
        Doubt("table", "On FERPlus .68/.39/.44 are averages weighted by class size (the confusion matrix gives "
              ".689/.393/.438), so recall equals accuracy; macro averages would be .39/.45/.31. The paper does not say "
              "how Table 1 averages."),
        Doubt("text", "The text misreads its confusion matrix: neutral is taken for happiness 38 times, not 391 "
              "(fear), surprise for happiness 5 times, not 633 (fear), sadness for neutral 37 times, not 153 (fear), "
              "and 475 neutral faces are called anger, not the reverse."),
        Doubt("text", "FERPlus has 7,099 pictures here: validation and test together, which the paper does not say."),
    ),
)  # fmt: skip

STUDIES: Mapping[str, Study] = {
    "restoration-vgg19": RESTORATION_VGG19,
    "smote-vgg19": SMOTE_VGG19,
    "facenet-triplet": FACENET_TRIPLET,
    "resnet50-transfer": RESNET50_TRANSFER,
    "preprocessing-grid": PREPROCESSING_GRID,
}
