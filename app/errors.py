"""Errors of requests, as a tree of classes.

    ServiceError
    ├── BadRequest 400
    │   ├── MissingImage          MISSING_IMAGE
    │   ├── InvalidParameter      INVALID_PARAMETER
    │   │   ├── RoiExceedsBounds  ROI_EXCEEDS_BOUNDS
    │   │   └── RoiEmpty          ROI_REGION_EMPTY
    │   ├── InvalidBase64         INVALID_BASE64
    │   ├── InvalidJson           INVALID_JSON
    │   ├── EmptyFile             EMPTY_FILE
    │   ├── MultipleSources       MULTIPLE_SOURCES
    │   ├── MalformedRequest      MALFORMED_REQUEST
    │   ├── UrlRefused            INVALID_URL
    │   └── DownloadFailed        DOWNLOAD_FAILED
    ├── AuthRequired 401          AUTH_REQUIRED
    ├── Forbidden 403             FORBIDDEN
    │   ├── AuthFailed            AUTH_FAILED
    │   └── ForbiddenPath         FORBIDDEN_PATH
    ├── NotFound 404              NOT_FOUND
    ├── MethodNotAllowed 405      METHOD_NOT_ALLOWED
    ├── PayloadTooLarge 413
    │   ├── FileTooLarge          FILE_TOO_LARGE
    │   ├── TooManyPixels         TOO_MANY_PIXELS
    │   ├── TooManyParts          TOO_MANY_PARTS
    │   └── OutOfMemory           OUT_OF_MEMORY
    ├── RequestTimeout 408        REQUEST_TIMEOUT
    ├── UriTooLong 414            URI_TOO_LONG
    ├── UnsupportedFormat 415     UNSUPPORTED_FORMAT
    ├── Unprocessable 422
    │   ├── CorruptImage          CORRUPT_IMAGE
    │   ├── TransparentImage      TRANSPARENT_IMAGE
    │   ├── ImageRefused          IMAGE_REFUSED
    │   └── UnknownForeground     UNKNOWN_FOREGROUND
    ├── RateLimited 429           RATE_LIMITED
    ├── QueueFull 429             QUEUE_FULL
    ├── HeadersTooLarge 431       HEADERS_TOO_LARGE
    ├── InternalError 500         INTERNAL
    │   └── EngineCrashed         ENGINE_CRASHED
    ├── NotImplementedHere 501    NOT_IMPLEMENTED
    ├── Unavailable 503
    │   ├── ModelUnavailable      MODEL_UNAVAILABLE
    │   └── ShuttingDown          SHUTTING_DOWN
    └── DeadlineExceeded 504      DEADLINE_EXCEEDED

A leaf names a cause; its public texts are data on its class. Classes without a code are never raised.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

__all__ = ["ServiceError", "error_codes", "from_code"]


class ServiceError(Exception):
    """A failure with a stable code that may be shown to the caller.

    `message` and `details` are public: no paths, stack traces or image contents. `retry_after` is in whole
    seconds. `parameter` is the name of the invalid field, if any.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = ""
    title: ClassVar[str] = ""
    default_message: ClassVar[str] = ""
    solution: ClassVar[str] = ""
    default_retry_after: ClassVar[int | None] = None

    def __init__(
        self,
        message: str = "",
        *,
        details: str = "",
        solution: str = "",
        retry_after: int | None = None,
        parameter: str = "",
    ) -> None:
        self.retry_after = retry_after or self.default_retry_after
        self.message = message or self.default_message
        self.details = details
        self.advice = solution or self.solution
        self.parameter = parameter
        super().__init__(self.message)

    def __str__(self) -> str:
        return self.message


class BadRequest(ServiceError):
    status = 400


class MissingImage(BadRequest):
    code = "MISSING_IMAGE"
    title = "Missing image"
    default_message = "The request contains no image."
    solution = "Send the image as multipart field 'file', as the raw body, or as base64 in 'image'."


class InvalidParameter(BadRequest):
    code = "INVALID_PARAMETER"
    title = "Invalid optimization parameters"
    default_message = "A parameter has an invalid value."
    solution = "Correct the parameter named in the message."


class RoiExceedsBounds(InvalidParameter):
    code = "ROI_EXCEEDS_BOUNDS"
    title = "Region outside the image"
    default_message = "The region of interest extends beyond the image."
    solution = "Send 'roi' as two corners inside the image, like 0px 0px 200px 100px or 10% 10% 90% 90%."


class RoiEmpty(InvalidParameter):
    code = "ROI_REGION_EMPTY"
    title = "Empty region"
    default_message = "The region of interest contains no pixels."
    solution = "Send 'roi' as left, top, right and bottom, with left before right and top before bottom."


class InvalidBase64(BadRequest):
    code = "INVALID_BASE64"
    title = "Invalid base64"
    default_message = "The field 'image' is not valid base64."
    solution = "Send standard base64 (RFC 4648), with or without a 'data:image/...;base64,' prefix."


class InvalidJson(BadRequest):
    code = "INVALID_JSON"
    title = "Invalid JSON"
    default_message = "The body is not a valid JSON object."
    solution = "Send one flat JSON object in UTF-8."


class EmptyFile(BadRequest):
    code = "EMPTY_FILE"
    title = "Empty file"
    default_message = "The image is empty (0 bytes)."
    solution = "Check that the client reads the file before sending it."


class MultipleSources(BadRequest):
    code = "MULTIPLE_SOURCES"
    title = "Multiple images"
    default_message = "The request contains more than one image."
    solution = "Send exactly one of 'file' and 'image'."


class MalformedRequest(BadRequest):
    code = "MALFORMED_REQUEST"
    title = "Malformed request"
    default_message = "The bytes of the request break the rules of HTTP/1.1."
    solution = "Check the client, and the proxies between: the details name the fault."


class UrlRefused(BadRequest):
    code = "INVALID_URL"
    title = "URL not allowed"
    default_message = "This server does not fetch from this URL."
    solution = "Use an http or https URL of an image on the public internet, or upload the image."


class DownloadFailed(BadRequest):
    code = "DOWNLOAD_FAILED"
    title = "Download failed"
    default_message = "The image at the URL could not be fetched."
    solution = "Check that the URL opens in a browser, or upload the image."


class AuthRequired(ServiceError):
    status = 401
    code = "AUTH_REQUIRED"
    title = "API key required"
    default_message = "This server requires an API key."
    solution = "Send your key as 'X-Api-Key: <key>' or 'Authorization: Bearer <key>'."


class Forbidden(ServiceError):
    status = 403
    code = "FORBIDDEN"
    title = "Forbidden"
    default_message = "Access from this IP address is not allowed."
    solution = "Connect directly, without a proxy, from an address in METRICS_ALLOWED_IPS."


class AuthFailed(Forbidden):
    code = "AUTH_FAILED"
    title = "API key invalid"
    default_message = "The API key is unknown to this server."
    solution = "Check the key, or ask the operator for one."


class ForbiddenPath(Forbidden):
    code = "FORBIDDEN_PATH"
    title = "Path not allowed"
    default_message = "The path does not name a readable file."
    solution = "Send a path relative to the upload or output folder, such as the name in X-Saved-As."


class NotFound(ServiceError):
    status = 404
    code = "NOT_FOUND"
    title = "Not found"
    default_message = "No resource exists at this path."
    solution = "Check the path. Send photos with POST /remove-background."


class MethodNotAllowed(ServiceError):
    status = 405
    code = "METHOD_NOT_ALLOWED"
    title = "Method not allowed"
    default_message = "This path does not support this HTTP method."
    solution = "Use a method listed in the 'Allow' header."


class RequestTimeout(ServiceError):
    status = 408
    code = "REQUEST_TIMEOUT"
    title = "Request timeout"
    default_message = "The request body was not received in time."
    solution = "Send a smaller image, or use a faster connection."


class PayloadTooLarge(ServiceError):
    status = 413


class FileTooLarge(PayloadTooLarge):
    code = "FILE_TOO_LARGE"
    title = "File too large"
    default_message = "The upload is too large."
    solution = "Send a smaller file."


class TooManyPixels(PayloadTooLarge):
    code = "TOO_MANY_PIXELS"
    title = "Too many pixels"
    default_message = "The image has too many pixels."
    solution = "Scale the image down before sending it."


class TooManyParts(PayloadTooLarge):
    code = "TOO_MANY_PARTS"
    title = "Too many form fields"
    default_message = "The form contains too many fields."
    solution = "Send only documented fields."


class OutOfMemory(PayloadTooLarge):
    code = "OUT_OF_MEMORY"
    title = "Image too large"
    default_message = "Image too large to process. Please use a smaller image."
    solution = "Send a smaller image."


class UriTooLong(ServiceError):
    status = 414
    code = "URI_TOO_LONG"
    title = "URI too long"
    default_message = "The request's address is too long."
    solution = "Send parameters in the body."


class UnsupportedFormat(ServiceError):
    status = 415
    code = "UNSUPPORTED_FORMAT"
    title = "Unsupported format"
    default_message = "The data is not an image in a supported format."
    solution = "Send JPEG, PNG, WEBP, GIF, BMP, TIFF, AVIF or HEIC."


class Unprocessable(ServiceError):
    status = 422


class CorruptImage(Unprocessable):
    code = "CORRUPT_IMAGE"
    title = "Corrupt image"
    default_message = "The image is damaged or truncated and cannot be decoded."
    solution = "Save the image again with an image editor and send the complete file."


class TransparentImage(Unprocessable):
    code = "TRANSPARENT_IMAGE"
    title = "Transparent image"
    default_message = "The image is fully transparent."
    solution = "Send an image with visible pixels, or save it without an alpha channel."


class ImageRefused(Unprocessable):
    code = "IMAGE_REFUSED"
    title = "Image refused"
    default_message = "This image has crashed the engine repeatedly and is refused for some minutes."
    solution = "Send another image, or save this one again with an image editor."


class UnknownForeground(Unprocessable):
    code = "UNKNOWN_FOREGROUND"
    title = "No subject found"
    default_message = "The model found no subject in this image."
    solution = "Send a photo with a clear subject."


class RateLimited(ServiceError):
    status = 429
    code = "RATE_LIMITED"
    title = "Rate limit exceeded"
    default_message = "This client has sent too many requests."
    solution = "Retry after the number of seconds in Retry-After."


class QueueFull(ServiceError):
    status = 429
    code = "QUEUE_FULL"
    title = "Server busy"
    default_message = "All engines are busy and the queue is full."
    solution = "Retry after the number of seconds in Retry-After; a place in the queue is reserved."
    default_retry_after = 1


class HeadersTooLarge(ServiceError):
    status = 431
    code = "HEADERS_TOO_LARGE"
    title = "Headers too large"
    default_message = "The request has too many or too long headers."
    solution = "Send fewer and shorter headers: cookies are not needed."


class InternalError(ServiceError):
    code = "INTERNAL"
    title = "Internal error"
    default_message = "An internal error occurred."
    solution = "Retry. If the error persists, report the request_id."


class EngineCrashed(InternalError):
    code = "ENGINE_CRASHED"
    title = "Engine crashed"
    default_message = "The engine process crashed while processing this image; it is being restarted."
    solution = "Retry. If the error persists for this image, report the request_id."


class NotImplementedHere(ServiceError):
    status = 501
    code = "NOT_IMPLEMENTED"
    title = "Not implemented"
    default_message = "This server does not implement this endpoint."
    solution = "Omit this call; no other call depends on it."


class Unavailable(ServiceError):
    status = 503


class ModelUnavailable(Unavailable):
    code = "MODEL_UNAVAILABLE"
    title = "Model unavailable"
    default_message = "The model is currently unavailable."
    solution = "Retry later, or choose another model."
    default_retry_after = 30


class ShuttingDown(Unavailable):
    code = "SHUTTING_DOWN"
    title = "Shutting down"
    default_message = "The server is shutting down."
    solution = "Retry in a few seconds."
    default_retry_after = 5


class DeadlineExceeded(ServiceError):
    status = 504
    code = "DEADLINE_EXCEEDED"
    title = "Deadline exceeded"
    default_message = "The image was not finished in time."
    solution = "Retry later, or send a smaller image."


def _leaves(root: type[ServiceError]) -> Iterator[type[ServiceError]]:
    for child in root.__subclasses__():
        if child.code:
            yield child
        yield from _leaves(child)


def error_codes() -> dict[str, type[ServiceError]]:
    """Return the classes of all errors that can be raised, by code."""
    return {leaf.code: leaf for leaf in _leaves(ServiceError)}


def from_code(code: str, message: str, details: str = "", solution: str = "") -> ServiceError:
    """Rebuild an error that crossed a process boundary; an unknown code becomes INTERNAL."""
    return error_codes().get(code, InternalError)(message, details=details, solution=solution)
