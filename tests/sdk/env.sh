# Sourced by every run script: checks the three inputs and says where the installed SDKs are.
set -eu
: "${TIDEGATE_URL:?is not set}" "${TIDEGATE_WRITE_KEY:?is not set}" "${TIDEGATE_RUN:?is not set}"
sdk_dir=$(cd "$(dirname "$0")/.." && pwd)
sdk_cache=${TIDEGATE_SDK_CACHE:-$HOME/.cache/tidegate/sdk}
export NODE_PATH="$sdk_cache/node/node_modules"
export PYTHONPATH="$sdk_cache/python/lib" PYTHONDONTWRITEBYTECODE=1
export TIDEGATE_SDK_EVENTS="$sdk_dir/events.json"
# A client talks to a server on this machine, never through a proxy of the environment.
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
