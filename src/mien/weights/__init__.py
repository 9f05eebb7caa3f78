"""The bundles that ship with mien, each `<name>.onnx` in this folder."""

SHIPPED = ("ferplus", "ferplus-fast", "fer2013", "fer2013-fast")
DEFAULT = "ferplus"
