"""Every way in which a request can fail.

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

A leaf names a cause; what the caller reads is data on its class. Branches without a code are never raised.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

__all__ = ["ServiceError", "error_codes", "from_code"]


class ServiceError(Exception):
    """A failure with a stable code that may be shown to the caller.

    `message` and `details` are public: never a path, a stack trace or what an image holds. `retry_after` is in whole
    seconds. `parameter` names the field that is to blame, where there is one.
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
    title = "No image"
    default_message = "The request holds no image."
    solution = "Send the image as multipart field 'file', as the raw body, or as base64 in 'image'."


class InvalidParameter(BadRequest):
    code = "INVALID_PARAMETER"
    title = "Invalid parameter"
    default_message = "A parameter has a value that is not allowed."
    solution = "Correct the parameter that the message names."


class RoiExceedsBounds(InvalidParameter):
    code = "ROI_EXCEEDS_BOUNDS"
    title = "Region outside the image"
    default_message = "The region of interest reaches beyond the image."
    solution = "Send 'roi' as two corners inside the image, like 0px 0px 200px 100px or 10% 10% 90% 90%."


class RoiEmpty(InvalidParameter):
    code = "ROI_REGION_EMPTY"
    title = "Region empty"
    default_message = "The region of interest holds no pixel."
    solution = "Send 'roi' as left, top, right and bottom, with left before right and top before bottom."


class InvalidBase64(BadRequest):
    code = "INVALID_BASE64"
    title = "Invalid base64"
    default_message = "The field 'image' is not valid base64."
    solution = "Send standard base64 (RFC 4648), with or without a 'data:image/...;base64,' prefix."


class InvalidJson(BadRequest):
    code = "INVALID_JSON"
    title = "Invalid JSON"
    default_message = "The body is not a JSON object that can be read."
    solution = "Send one flat JSON object in UTF-8."


class EmptyFile(BadRequest):
    code = "EMPTY_FILE"
    title = "Empty file"
    default_message = "The image has no bytes."
    solution = "Check that the file was read before it was sent."


class MultipleSources(BadRequest):
    code = "MULTIPLE_SOURCES"
    title = "More than one image"
    default_message = "The request holds more than one image."
    solution = "Send exactly one of 'file' and 'image'."


class MalformedRequest(BadRequest):
    code = "MALFORMED_REQUEST"
    title = "Malformed request"
    default_message = "The bytes of the request break the rules of HTTP/1.1."
    solution = "Check the client, and the proxies between: the details name the fault."


class UrlRefused(BadRequest):
    code = "INVALID_URL"
    title = "URL not allowed"
    default_message = "The URL is not one that this server fetches."
    solution = "Name an image on the public internet by its http or https URL, or send the image itself."


class DownloadFailed(BadRequest):
    code = "DOWNLOAD_FAILED"
    title = "Download failed"
    default_message = "The image at the URL could not be fetched."
    solution = "Open the URL in a browser to see what it answers, or send the image itself."


class AuthRequired(ServiceError):
    status = 401
    code = "AUTH_REQUIRED"
    title = "API key required"
    default_message = "This server answers only callers with an API key."
    solution = "Send your key as 'X-Api-Key: <key>' or 'Authorization: Bearer <key>'."


class Forbidden(ServiceError):
    status = 403
    code = "FORBIDDEN"
    title = "Forbidden"
    default_message = "This address may not be read from where you are."
    solution = "Ask from an address in METRICS_ALLOWED_IPS, without a proxy between."


class AuthFailed(Forbidden):
    code = "AUTH_FAILED"
    title = "API key invalid"
    default_message = "The API key is not one that this server knows."
    solution = "Check the key, or ask the operator for one."


class ForbiddenPath(Forbidden):
    code = "FORBIDDEN_PATH"
    title = "Path not allowed"
    default_message = "This path does not name a file that may be read."
    solution = "Send a path relative to the upload or the output folder, such as the name in X-Saved-As."


class NotFound(ServiceError):
    status = 404
    code = "NOT_FOUND"
    title = "Not found"
    default_message = "There is nothing at this address."
    solution = "Check the path; POST /remove-background takes a photo."


class MethodNotAllowed(ServiceError):
    status = 405
    code = "METHOD_NOT_ALLOWED"
    title = "Method not allowed"
    default_message = "This address does not answer this method."
    solution = "Use a method that the 'Allow' header names."


class RequestTimeout(ServiceError):
    status = 408
    code = "REQUEST_TIMEOUT"
    title = "Request timeout"
    default_message = "The request's body came too slowly."
    solution = "Send a smaller image, or over a faster connection."


class PayloadTooLarge(ServiceError):
    status = 413


class FileTooLarge(PayloadTooLarge):
    code = "FILE_TOO_LARGE"
    title = "File too large"
    default_message = "The upload has too many bytes."
    solution = "Send a smaller file."


class TooManyPixels(PayloadTooLarge):
    code = "TOO_MANY_PIXELS"
    title = "Too many pixels"
    default_message = "The image has too many pixels."
    solution = "Scale the image down before sending it."


class TooManyParts(PayloadTooLarge):
    code = "TOO_MANY_PARTS"
    title = "Too many form fields"
    default_message = "The form has too many fields."
    solution = "Send only the fields that the documentation names."


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
    default_message = "The bytes are not an image in a format that this server reads."
    solution = "Send JPEG, PNG, WEBP, GIF, BMP or TIFF."


class Unprocessable(ServiceError):
    status = 422


class CorruptImage(Unprocessable):
    code = "CORRUPT_IMAGE"
    title = "Corrupt image"
    default_message = "The image is damaged or cut short and cannot be read."
    solution = "Open the image in an editor, save it again, and send it whole."


class ImageRefused(Unprocessable):
    code = "IMAGE_REFUSED"
    title = "Image refused"
    default_message = "This image has brought engines down and is refused for some minutes."
    solution = "Send another image, or the same one saved anew by an image editor."


class UnknownForeground(Unprocessable):
    code = "UNKNOWN_FOREGROUND"
    title = "No subject found"
    default_message = "The model sees no subject in this image."
    solution = "Send a photo with a clear subject, or leave out require_foreground."


class RateLimited(ServiceError):
    status = 429
    code = "RATE_LIMITED"
    title = "Rate limit exceeded"
    default_message = "This client has sent too many requests."
    solution = "Try again after the seconds that Retry-After names."


class QueueFull(ServiceError):
    status = 429
    code = "QUEUE_FULL"
    title = "Server busy"
    default_message = "Every engine is busy and the queue is full."
    solution = "Try again after the seconds that Retry-After names: a place is kept then."
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
    default_message = "Something went wrong on the server."
    solution = "Try again; if it happens again, report the request_id."


class EngineCrashed(InternalError):
    code = "ENGINE_CRASHED"
    title = "Engine crashed"
    default_message = "The process that worked on this image ended. It is being replaced."
    solution = "Try again; if it happens again with this image, report the request_id."


class NotImplementedHere(ServiceError):
    status = 501
    code = "NOT_IMPLEMENTED"
    title = "Not implemented"
    default_message = "This server does not do that."
    solution = "Leave the call out: nothing depends on it."


class Unavailable(ServiceError):
    status = 503


class ModelUnavailable(Unavailable):
    code = "MODEL_UNAVAILABLE"
    title = "Model unavailable"
    default_message = "The model cannot be used at present."
    solution = "Try again later, or ask for another model."
    default_retry_after = 30


class ShuttingDown(Unavailable):
    code = "SHUTTING_DOWN"
    title = "Shutting down"
    default_message = "The server is shutting down."
    solution = "Try again in a moment."
    default_retry_after = 5


class DeadlineExceeded(ServiceError):
    status = 504
    code = "DEADLINE_EXCEEDED"
    title = "Deadline exceeded"
    default_message = "The image was not finished in time."
    solution = "Try again later or send a smaller image."


def _leaves(root: type[ServiceError]) -> Iterator[type[ServiceError]]:
    for child in root.__subclasses__():
        if child.code:
            yield child
        yield from _leaves(child)


def error_codes() -> dict[str, type[ServiceError]]:
    """Return every error that can be raised, by its code."""
    return {leaf.code: leaf for leaf in _leaves(ServiceError)}


def from_code(code: str, message: str, details: str = "", solution: str = "") -> ServiceError:
    """Rebuild an error that crossed a process boundary; an unknown code becomes INTERNAL."""
    return error_codes().get(code, InternalError)(message, details=details, solution=solution)
