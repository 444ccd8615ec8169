"""Model versions on disk: manifests, import, catalogue, retention, and everything known of a model. No OpenVINO."""
