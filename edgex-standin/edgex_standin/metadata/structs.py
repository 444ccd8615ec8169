"""core-metadata's requests as Go structs (go-mod-core-contracts dtos/*.go, dtos/requests/*.go)."""

from edgex_standin.shapes import Field, ListOf, MapOf, Shape

_NAME = "required,edgex-dto-none-empty-string"
_OWN_ID = "omitempty,uuid"
_ID = "required_without=Name,edgex-dto-uuid"
_NAME_IF_NO_ID = "required_without=Id,edgex-dto-none-empty-string"
_ADMIN = "oneof='LOCKED' 'UNLOCKED'"
_OPERATING = "oneof='UP' 'DOWN' 'UNKNOWN'"
_READ_WRITE = "required,oneof='R' 'W' 'RW' 'WR'"

_STRINGS = ListOf("string")
_FREE = MapOf("any")


def _given(go: str, kind: "str | ListOf | MapOf | Shape", rules: str = "") -> Field:
    return Field(go, kind, rules, "given")  # type: ignore[arg-type]


def _request(go: str, *fields: Field) -> Shape:
    head = (
        Field("BaseRequest.Versionable.ApiVersion", "string", "required"),
        Field("BaseRequest.RequestId", "string", "len=0|uuid", "always"),
    )
    return Shape(go, (*head, *fields))


_RETENTION = Shape(
    "Retention",
    (
        Field("MaxCap", "int", "", "always"),
        Field("MinCap", "int", "", "always"),
        Field("Duration", "string", "omitempty,edgex-dto-duration=0s", "always"),
    ),
)
_AUTO_EVENT = Shape(
    "AutoEvent",
    (
        Field("Interval", "string", "required,edgex-dto-duration=1ms", "always"),
        Field("OnChange", "bool", "", "always"),
        Field("OnChangeThreshold", "float", "gte=0", "always"),
        Field("SourceName", "string", "required", "always"),
        Field("Retention", _RETENTION, "", "always"),
    ),
)
_PROTOCOLS = MapOf(_FREE)

DEVICE = Shape(
    "Device",
    (
        Field("Id", "string", _OWN_ID),
        Field("Name", "string", _NAME, "always"),
        Field("Parent", "string"),
        Field("Description", "string"),
        Field("AdminState", "string", _ADMIN, "always"),
        Field("OperatingState", "string", _OPERATING, "always"),
        Field("Labels", _STRINGS),
        Field("Location", "any"),
        Field("ServiceName", "string", _NAME, "always"),
        Field("ProfileName", "string"),
        Field("AutoEvents", ListOf(_AUTO_EVENT)),
        Field("Protocols", _PROTOCOLS, "required", "always"),
        Field("Tags", _FREE),
        Field("Properties", _FREE, "", "always"),
    ),
)
_UPDATE_DEVICE = Shape(
    "UpdateDevice",
    (
        _given("Id", "string", _ID),
        _given("Name", "string", _NAME_IF_NO_ID),
        _given("Parent", "string"),
        _given("Description", "string"),
        _given("AdminState", "string", f"omitempty,{_ADMIN}"),
        _given("OperatingState", "string", f"omitempty,{_OPERATING}"),
        _given("ServiceName", "string", "omitempty,edgex-dto-none-empty-string"),
        _given("ProfileName", "string"),
        _given("Labels", _STRINGS),
        _given("Location", "any"),
        _given("AutoEvents", ListOf(_AUTO_EVENT)),
        _given("Protocols", _PROTOCOLS),
        _given("Tags", _FREE),
        _given("Properties", _FREE),
    ),
)
SERVICE = Shape(
    "DeviceService",
    (
        Field("Id", "string", _OWN_ID),
        Field("Name", "string", _NAME, "always"),
        Field("Description", "string"),
        Field("Labels", _STRINGS),
        Field("BaseAddress", "string", "required,uri", "always"),
        Field("AdminState", "string", _ADMIN, "always"),
        Field("Properties", _FREE, "", "always"),
    ),
)
_UPDATE_SERVICE = Shape(
    "UpdateDeviceService",
    (
        _given("Id", "string", _ID),
        _given("Name", "string", _NAME_IF_NO_ID),
        _given("Description", "string"),
        _given("BaseAddress", "string", "omitempty,uri"),
        _given("Labels", _STRINGS),
        _given("AdminState", "string", f"omitempty,{_ADMIN}"),
        _given("Properties", _FREE),
    ),
)
_PROPERTIES = Shape(
    "ResourceProperties",
    (
        Field("ValueType", "string", "required,edgex-dto-value-type", "always"),
        Field("ReadWrite", "string", _READ_WRITE, "always"),
        Field("Units", "string"),
        _given("Minimum", "float"),
        _given("Maximum", "float"),
        Field("DefaultValue", "string"),
        _given("Mask", "uint"),
        _given("Shift", "int"),
        _given("Scale", "float"),
        _given("Offset", "float"),
        _given("Base", "float"),
        Field("Assertion", "string"),
        Field("MediaType", "string"),
        Field("Optional", _FREE),
    ),
)
RESOURCE = Shape(
    "DeviceResource",
    (
        Field("Description", "string"),
        Field("Name", "string", _NAME, "always"),
        Field("IsHidden", "bool", "", "always"),
        Field("Properties", _PROPERTIES, "", "always"),
        Field("Attributes", _FREE),
        Field("Tags", _FREE),
    ),
)
_OPERATION = Shape(
    "ResourceOperation",
    (
        Field("DeviceResource", "string", "required", "always"),
        Field("DefaultValue", "string"),
        Field("Mappings", MapOf("string")),
    ),
)
COMMAND = Shape(
    "DeviceCommand",
    (
        Field("Name", "string", _NAME, "always"),
        Field("IsHidden", "bool", "", "always"),
        Field("ReadWrite", "string", _READ_WRITE, "always"),
        Field("ResourceOperations", ListOf(_OPERATION), "gt=0", "always"),
        Field("Tags", _FREE),
    ),
)
_BASIC_INFO = (
    Field("Created", "int"),
    Field("Modified", "int"),
    Field("Id", "string", _OWN_ID),
    Field("Name", "string", _NAME, "always"),
    Field("Manufacturer", "string"),
    Field("Description", "string"),
    Field("Model", "string"),
    Field("Labels", _STRINGS),
)
PROFILE = Shape(
    "DeviceProfile",
    (
        *_BASIC_INFO,
        Field("LinkedDeviceCount", "int", "", "always"),
        Field("DeviceResources", ListOf(RESOURCE), "", "always"),
        Field("DeviceCommands", ListOf(COMMAND), "", "always"),
        Field("ApiVersion", "string"),
    ),
)
BASIC_INFO_KEYS = (*(one.key for one in _BASIC_INFO), "linkedDeviceCount")
_UPDATE_BASIC_INFO = Shape(
    "UpdateDeviceProfileBasicInfo",
    (
        _given("Id", "string", _ID),
        _given("Name", "string", _NAME_IF_NO_ID),
        _given("Manufacturer", "string"),
        _given("Description", "string"),
        _given("Model", "string"),
        _given("Labels", _STRINGS),
    ),
)
_DISCOVERED = Shape(
    "DiscoveredDevice",
    (
        Field("ProfileName", "string", "len=0|edgex-dto-none-empty-string", "always"),
        Field("AdminState", "string", _ADMIN, "always"),
        Field("AutoEvents", ListOf(_AUTO_EVENT)),
        Field("Properties", _FREE, "", "always"),
    ),
)
WATCHER = Shape(
    "ProvisionWatcher",
    (
        Field("Id", "string", _OWN_ID),
        Field("Name", "string", _NAME, "always"),
        Field("ServiceName", "string", _NAME, "always"),
        Field("Labels", _STRINGS),
        Field("Identifiers", MapOf("string", "required"), "gt=0", "always"),
        Field("BlockingIdentifiers", MapOf(_STRINGS)),
        Field("AdminState", "string", _ADMIN, "always"),
        Field("DiscoveredDevice", _DISCOVERED, "", "always"),
    ),
)
_UPDATE_DISCOVERED = Shape(
    "UpdateDiscoveredDevice",
    (
        _given("ProfileName", "string"),
        _given("AdminState", "string", f"omitempty,{_ADMIN}"),
        _given("AutoEvents", ListOf(_AUTO_EVENT)),
        _given("Properties", _FREE),
    ),
)
_UPDATE_WATCHER = Shape(
    "UpdateProvisionWatcher",
    (
        _given("Id", "string", _ID),
        _given("Name", "string", _NAME_IF_NO_ID),
        _given("ServiceName", "string", "omitempty,edgex-dto-none-empty-string"),
        _given("Labels", _STRINGS),
        _given("Identifiers", MapOf("string", "required"), "omitempty,gt=0"),
        _given("BlockingIdentifiers", MapOf(_STRINGS)),
        _given("AdminState", "string", f"omitempty,{_ADMIN}"),
        _given("DiscoveredDevice", _UPDATE_DISCOVERED),
    ),
)
_UPDATE_PART = (_given("Name", "string", _NAME), _given("IsHidden", "bool"))
_TAGS = ListOf(
    Shape("UpdateTags", (Field("Name", "string", _NAME, "always"), Field("Tags", _FREE, "required,gt=0", "always")))
)
_OF_PROFILE = Field("ProfileName", "string", _NAME, "always")

ADD_DEVICE = _request("AddDeviceRequest", Field("Device", DEVICE, "", "always"))
UPDATE_DEVICE = _request("UpdateDeviceRequest", Field("Device", _UPDATE_DEVICE, "", "always"))
ADD_SERVICE = _request("AddDeviceServiceRequest", Field("Service", SERVICE, "", "always"))
UPDATE_SERVICE = _request("UpdateDeviceServiceRequest", Field("Service", _UPDATE_SERVICE, "", "always"))
PUT_PROFILE = _request("DeviceProfileRequest", Field("Profile", PROFILE, "", "always"))
UPDATE_BASIC_INFO = _request("DeviceProfileBasicInfoRequest", Field("BasicInfo", _UPDATE_BASIC_INFO, "", "always"))
UPDATE_TAGS = _request("DeviceProfileTagsRequest", Field("DeviceResources", _TAGS), Field("DeviceCommands", _TAGS))
ADD_RESOURCE = _request("AddDeviceResourceRequest", _OF_PROFILE, Field("Resource", RESOURCE, "", "always"))
UPDATE_RESOURCE = _request(
    "UpdateDeviceResourceRequest",
    _OF_PROFILE,
    Field("Resource", Shape("UpdateDeviceResource", (_given("Description", "string"), *_UPDATE_PART)), "", "always"),
)
ADD_COMMAND = _request("AddDeviceCommandRequest", _OF_PROFILE, Field("DeviceCommand", COMMAND, "", "always"))
UPDATE_COMMAND = _request(
    "UpdateDeviceCommandRequest",
    _OF_PROFILE,
    Field("DeviceCommand", Shape("UpdateDeviceCommand", _UPDATE_PART), "", "always"),
)
ADD_WATCHER = _request("AddProvisionWatcherRequest", Field("ProvisionWatcher", WATCHER, "", "always"))
UPDATE_WATCHER = _request("UpdateProvisionWatcherRequest", Field("ProvisionWatcher", _UPDATE_WATCHER, "", "always"))
