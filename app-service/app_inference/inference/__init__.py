"""OpenVINO: models read, compiled and run. The only package that imports openvino."""
