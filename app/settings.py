"""Table of all settings: name, type, default, range and help.

They are read once, from the environment and .env, and are frozen. An empty value means "not set".
"""

from __future__ import annotations

import re
from importlib import resources
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic.functional_validators import BeforeValidator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.engine import models
from app.engine.container import MEGABYTE, memory_limit
from app.engine.providers import CPU, parse_providers
from app.setting_problems import ENV_ENCODING, SettingProblem, SettingsError, check_env_file, problem_of
from app.urls import parse_host_rule, parse_origin, plain_redis_url

__all__ = ["SettingProblem", "Settings", "SettingsError", "load_settings", "package_version"]


def package_version() -> str:
    """Return the version in app/VERSION."""
    return resources.files("app").joinpath("VERSION").read_text(encoding="ascii").strip()


def _default_log_level(settings: dict[str, Any]) -> Literal["DEBUG", "INFO"]:
    return "DEBUG" if settings.get("debug") or settings.get("flask_env", "").lower() == "development" else "INFO"


# Defaults of MEMORY_PROFILE=low, for machines or containers with 512 MB in total.
LOW_PROFILE: dict[str, Any] = {
    "engine_processes": 1,
    "queue_size": 8,
    "max_concurrent_uploads": 2,
    "max_dimension": 800,
}
MEMORY_CACHE = "memory://"
REDIS_FORMS = "redis://…, rediss://… or unix://…"
LOOPBACK = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
LOW_MEMORY = 1200 * MEGABYTE


class Settings(BaseSettings):
    """Configuration of the service; each field is the environment variable of the same name in capitals."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True, frozen=True, extra="ignore", env_file_encoding=ENV_ENCODING, hide_input_in_errors=True
    )

    app_name: str = Field("Background Remover API", description="Name of the service in /health and /docs.")
    app_version: str = Field(default_factory=package_version, description="Version in /health and /docs.")
    host: str = Field("0.0.0.0", description="Address to listen on.")  # noqa: S104  # all interfaces, by design
    port: int = Field(5001, ge=1, le=65535, description="Port to listen on.")
    web_concurrency: int = Field(
        1, ge=1, le=64, description="Web worker processes; each has its own engines and queue."
    )
    web_threads: int | None = Field(
        None,
        ge=2,
        le=1000,
        description="Threads per web worker. Default: engines + QUEUE_SIZE + 16.",
    )
    debug: bool = Field(False, description="LOG_LEVEL=DEBUG by default. Never opens a debugger.")
    flask_env: str = Field(
        "production", description="development: the same as DEBUG=true; other values have no effect."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default_factory=_default_log_level,
        description="Minimum level of log lines. Default: INFO; DEBUG with DEBUG=true.",
    )
    model_name: str = Field("auto", description="Default model of requests.")
    models_allowed: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Comma-separated models that requests may use. Default: MODEL_NAME; if it is one of auto, lite and "
        "u2netp, all three.",
    )
    auto_under_load: Literal["fast", "same"] = Field(
        "fast",
        description="Model auto while more than half of the queue is taken; fast: lite alone; same: as always.",
    )
    execution_providers: Annotated[tuple[str, ...], NoDecode, BeforeValidator(parse_providers)] = Field(
        (CPU,), description="Comma-separated onnxruntime providers: names, or cpu, cuda, openvino, coreml, directml."
    )
    rembg_home: str = Field("", description="Folder of downloaded weights. Default: that of rembg, ~/.rembg.")
    model_checksum_disabled: bool = Field(False, description="Accept downloaded weights with any checksum.")
    engine_processes: int | None = Field(
        None, ge=1, le=256, description="Engine processes per web worker. Default: by cores and memory."
    )
    engine_threads: int | None = Field(
        None, ge=1, le=256, description="Threads per engine. Default: cores divided by engines."
    )
    engine_memory_mb: int | None = Field(
        None, ge=64, description="Maximum resident memory per engine, MB. Default: by model and available memory."
    )
    engine_max_tasks: int = Field(1000, ge=1, description="Photos per engine process before it is replaced.")
    memory_profile: Literal["auto", "low", "standard"] = Field(
        "auto", description="low: defaults for 512 MB in total; auto: low if the container has at most 1200 MB."
    )
    memory_warn_mb: int | None = Field(
        None,
        ge=1,
        description="Resident MB above which an engine is replaced, with a warning. Default: 80 % of its cap.",
    )
    request_timeout: float = Field(
        120, gt=0, le=3600, description="Maximum seconds from a request's arrival to its answer."
    )
    shutdown_grace: float = Field(30, ge=0, le=3600, description="Seconds for running requests to finish at shutdown.")
    queue_size: int = Field(
        32, ge=0, le=10_000, description="Maximum number of waiting requests; further ones get 429. Low profile: 8."
    )
    max_concurrent_uploads: int = Field(
        16,
        ge=1,
        le=1000,
        description="Maximum request bodies in memory, unread answers included. Low profile: 2.",
    )
    max_content_length: int = Field(16_777_216, ge=1024, description="Maximum bytes of a request body.")
    max_image_bytes: int = Field(10_485_760, ge=1024, description="Maximum bytes of an image.")
    max_pixels: int = Field(
        25_000_000, ge=1, description="Maximum pixels to decode; a larger JPEG is scaled down while decoding."
    )
    max_pixels_hard: int = Field(100_000_000, ge=1, description="Maximum pixels of any image.")
    max_dimension: int = Field(
        2048,
        ge=100,
        le=16_000,
        description="Maximum longer side of the working and output size, px, without full_size. Low profile: 800.",
    )
    output_dir: Path = Field(Path("outputs"), description="Folder for results of save=true.")
    cleanup_max_age_hours: float = Field(
        24, gt=0, le=87_600, description="Hours after which results in OUTPUT_DIR are deleted."
    )
    cleanup_uploads: bool = Field(
        False, description="Delete files in UPLOAD_DIR as well, of any name, after CLEANUP_MAX_AGE_HOURS."
    )
    upload_dir: Path = Field(Path("uploads"), description="Folder that /read-file reads from, besides OUTPUT_DIR.")
    rate_limit_storage: Literal["memory", "redis"] = Field(
        "memory", description="Storage of rate limit counts; redis shares them between workers and machines."
    )
    redis_url: SecretStr = Field(
        SecretStr("redis://localhost:6379/0"), description="Redis for RATE_LIMIT_STORAGE=redis and JOBS_BACKEND=celery."
    )
    rate_limit_remove_bg_per_hour: int = Field(
        10, ge=0, description="Photos per client and hour at /remove-background; 0: no limit."
    )
    rate_limit_preview_per_hour: int = Field(20, ge=0, description="The same for /remove-background-preview.")
    rate_limit_base64_per_hour: int = Field(30, ge=0, description="The same for /remove-background-base64.")
    rate_limit_read_file_per_hour: int = Field(
        15, ge=0, description="Files per client and hour at /read-file; 0: no limit."
    )
    rate_limit_megapixels_per_minute: int = Field(
        500, ge=0, description="Megapixels per client and minute at /v1.0/removebg; 0: no limit."
    )
    rate_limit_exempt: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        LOOPBACK,
        description="Comma-separated networks without rate limits, or none; loopback only without a proxy.",
    )
    trusted_proxies: int = Field(
        0,
        ge=0,
        le=10,
        description="Number of proxies whose X-Forwarded-For is trusted; 0: use the connection's address.",
    )
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (), description="Comma-separated API keys; every request must send one of them. Default: no key needed."
    )
    api_keys_file: Path | None = Field(
        None,
        description="File of lines name:sha256hex:per_hour, reread on change; empty per_hour: default limits.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Comma-separated origins of allowed web pages and browser extensions. Default: none."
    )
    metrics_allowed_ips: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        LOOPBACK,
        description="Comma-separated networks with access to /metrics. Default: loopback.",
    )
    log_format: Literal["text", "json"] = Field("text", description="Format of log lines.")
    log_file: Path | None = Field(None, description="Log file, reopened after it is moved. Default: stderr.")
    presets_file: Path | None = Field(None, description="JSON file of additional presets.")
    cache_url: SecretStr | None = Field(
        None, description="Result cache: memory:// or redis://host:port/number. Default: none."
    )
    cache_max_mb: int = Field(
        256, ge=1, le=1_000_000, description="Maximum MB of the result cache; with memory://, per web worker."
    )
    cache_ttl: int = Field(3600, ge=1, le=31_536_000, description="Seconds that a result stays in the cache.")
    jobs_backend: Literal["local", "celery", "off"] = Field(
        "local", description="Processing of jobs at /jobs: local engines, Celery workers (REDIS_URL), or off."
    )
    jobs_dir: Path = Field(Path("jobs"), description="Folder of the state and the files of jobs; local backend.")
    jobs_storage: str | None = Field(
        None, description="Files of jobs for all machines: file:///folder or s3://bucket/prefix; Celery backend."
    )
    jobs_max_files: int = Field(1000, ge=1, le=100_000, description="Maximum photos of one job.")
    jobs_max_bytes: int = Field(
        2_000_000_000, ge=1_000_000, le=1_000_000_000_000, description="Maximum bytes of the body of one job."
    )
    jobs_ttl: int = Field(86_400, ge=60, le=31_536_000, description="Seconds after its end for which a job is kept.")
    rate_limit_jobs_per_hour: int = Field(500, ge=0, description="Photos per client and hour at /jobs; 0: no limit.")
    webhook_secret: SecretStr | None = Field(
        None, description="Key of the signatures of webhooks. Default: jobs have no webhooks."
    )
    web_page: bool = Field(True, description="Serve the web page at /.")
    allow_url_fetch: bool = Field(False, description="Allow requests to fetch images from the public internet by URL.")
    allowed_url_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Comma-separated hosts, *.domains and host:port allowed for fetching. Default: any public host."
    )

    @model_validator(mode="before")
    @classmethod
    def _profile_defaults(cls, data: dict[str, Any]) -> dict[str, Any]:
        return (LOW_PROFILE if _is_low(str(data.get("memory_profile") or "auto").lower()) else {}) | data

    @field_validator("host")
    @classmethod
    def _without_brackets(cls, host: str) -> str:
        return host.strip("[]")  # of an IPv6 address

    @field_validator(
        "memory_profile", "rate_limit_storage", "log_format", "auto_under_load", "jobs_backend", mode="before"
    )
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator(
        "models_allowed",
        "api_keys",
        "cors_origins",
        "rate_limit_exempt",
        "metrics_allowed_ips",
        "allowed_url_hosts",
        mode="before",
    )
    @classmethod
    def _split_names(cls, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, str):
            return value
        if info.field_name == "rate_limit_exempt" and value.strip().lower() == "none":
            return ()
        names = tuple(filter(None, map(str.strip, value.split(","))))
        if info.field_name == "api_keys" and not names:  # a service that was meant to be closed
            raise ValueError("holds no key; leave it empty if none is needed")
        return names

    @field_validator("model_name")
    @classmethod
    def _known_model(cls, name: str) -> str:
        if name not in models.REGISTRY:
            raise ValueError(f"unknown model {name!r}; must be one of {', '.join(models.REGISTRY)}")
        return name

    @field_validator("models_allowed")
    @classmethod
    def _known_models(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(cls._known_model(name) for name in names)

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        if "*" in origins and len(origins) > 1:
            raise ValueError("'*' allows every origin and must be the only value")
        return origins if origins == ("*",) else tuple(map(parse_origin, origins))

    @field_validator("cache_url")
    @classmethod
    def _known_cache(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and url.get_secret_value() != MEMORY_CACHE:
            _check_redis_url(url.get_secret_value(), f"{MEMORY_CACHE}, {REDIS_FORMS}")
        return url

    @field_validator("redis_url")
    @classmethod
    def _known_redis(cls, url: SecretStr, info: ValidationInfo) -> SecretStr:
        if info.data.get("rate_limit_storage") == "redis":
            _check_redis_url(plain_redis_url(url.get_secret_value()), REDIS_FORMS)
        return url

    @field_validator("jobs_storage")
    @classmethod
    def _known_storage(cls, url: str | None) -> str | None:
        if url and not re.match(r"file:///[^/]|s3://[^/]+", url):
            raise ValueError("must be file:///folder or s3://bucket/prefix")
        return url

    @field_validator("allowed_url_hosts")
    @classmethod
    def _url_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            parse_host_rule(host)
        return hosts

    @model_validator(mode="after")
    def _jobs_with_celery(self) -> Settings:
        if self.jobs_backend == "celery":
            if not self.jobs_storage:
                raise ValueError("JOBS_BACKEND=celery needs JOBS_STORAGE, which all machines can reach")
            _check_redis_url(plain_redis_url(self.redis_url.get_secret_value()), REDIS_FORMS)
        return self

    @model_validator(mode="after")
    def _pixels_in_order(self) -> Settings:
        if self.max_pixels > self.max_pixels_hard:
            raise ValueError("MAX_PIXELS must not exceed MAX_PIXELS_HARD")
        return self

    @property
    def low_memory(self) -> bool:
        """Return whether the low profile applies."""
        return _is_low(self.memory_profile)

    @property
    def cache_in_memory(self) -> bool:
        """Return whether each web worker caches results in its memory."""
        return self.cache_url is not None and self.cache_url.get_secret_value() == MEMORY_CACHE

    @property
    def written_folders(self) -> tuple[Path, ...]:
        """Return the folders that the service writes to; their disk space is part of /health."""
        jobs = [self.jobs_dir] if self.jobs_backend == "local" else []
        return (self.output_dir, *jobs, *([self.log_file.parent] if self.log_file else []))

    @property
    def swept_uploads(self) -> tuple[Path, ...]:
        """Return the folders in which files of any name are deleted when they are old."""
        return (self.upload_dir,) if self.cleanup_uploads else ()

    @property
    def allowed_models(self) -> tuple[str, ...]:
        """Return the models that requests may use, the default first."""
        embedded = models.EMBEDDED if self.model_name in models.EMBEDDED else ()
        others = self.models_allowed or embedded
        return tuple(dict.fromkeys((self.model_name, *others)))


def _check_redis_url(url: str, forms: str) -> None:
    """Raise ValueError with the valid forms, and without the URL, if this is not the address of a Redis."""
    from redis import Redis  # takes memory: imported only where Redis is in use

    try:
        Redis.from_url(url).connection_pool.make_connection()  # does not connect yet
    except (ValueError, TypeError):  # TypeError: an unknown option after the ?
        raise ValueError(f"must be {forms}") from None


def _is_low(profile: str) -> bool:
    return profile == "low" or (profile == "auto" and memory_limit() <= LOW_MEMORY)


def load_settings(env_file: str | Path | None = ".env", **overrides: Any) -> Settings:
    """Read the settings; raise SettingsError for all invalid ones."""
    if env_file is not None:
        check_env_file(Path(env_file))
    try:
        return Settings(_env_file=env_file, **overrides)
    except ValidationError as error:
        # A default that depends on an invalid setting is no problem of its own.
        errors = [details for details in error.errors() if details["type"] != "default_factory_not_called"]
        raise SettingsError(*map(problem_of, errors)) from None
