"""A device profile by hand, with every kind of resource that the checklist asks for."""

PROFILE = {
    "name": "",
    "deviceResources": [
        {
            "name": "Frame",
            "attributes": {"getFunction": "Frame"},
            "properties": {"valueType": "Binary", "readWrite": "R", "mediaType": "image/jpeg"},
        },
        {
            "name": "Rate",
            "attributes": {"getFunction": "FrameRateFps", "setFunction": "FrameRateFps"},
            "properties": {"valueType": "Float32", "readWrite": "RW", "units": "fps", "minimum": 0, "maximum": 50},
        },
        {
            "name": "Quality",
            "attributes": {"getFunction": "JpegQuality", "setFunction": "JpegQuality"},
            "properties": {
                "valueType": "Uint8",
                "readWrite": "RW",
                "minimum": 1,
                "maximum": 100,
                "defaultValue": "60",
            },
        },
        {
            "name": "Source",
            "attributes": {"getFunction": "StreamURI"},
            "properties": {"valueType": "String", "readWrite": "R"},
        },
        {
            "name": "Stop",
            "attributes": {"setFunction": "StopStreaming"},
            "properties": {"valueType": "Bool", "readWrite": "W"},
        },
        {
            "name": "Broken",
            "attributes": {"getFunction": "Levitate", "setFunction": "Levitate"},
            "properties": {"valueType": "Int32", "readWrite": "RW"},
        },
    ],
    "deviceCommands": [
        {
            "name": "Tuning",
            "readWrite": "RW",
            "resourceOperations": [
                {"deviceResource": "Rate", "defaultValue": "7"},
                {"deviceResource": "Quality", "mappings": {"90": "fine", "30": "coarse"}},
            ],
            "tags": {"made": "by hand"},
        },
        {
            "name": "Look",
            "readWrite": "R",
            "resourceOperations": [{"deviceResource": "Frame"}, {"deviceResource": "Rate"}],
        },
    ],
}
