-- A gateway's job in Lua: SHA-256 of the key, look-up, GCRA per key and a monthly quota in shared
-- memory, trusted headers to the upstream, the limit's headers to the client, usage counted.
-- Usage is counted in memory: unlike with the proxy, a killed process loses it.
local ffi = require "ffi"
ffi.cdef [[ unsigned char *SHA256(const unsigned char *d, size_t n, unsigned char *md); ]]
local digest = ffi.new("unsigned char[32]")

local gate = {}
local keys = {}
local limits, usage = ngx.shared.limits, ngx.shared.usage

local function sha256(text)
  ffi.C.SHA256(text, #text, digest)
  return ffi.string(digest, 32)
end

-- Lines of: key's text, its id, its application, requests, window in seconds. What is kept is the digest.
function gate.load(path)
  for line in io.lines(path) do
    local key, id, application, requests, window = line:match("^(%S+) (%S+) (%S+) (%S+) (%S+)$")
    keys[sha256(key)] = { id = id, application = application, requests = tonumber(requests), window = tonumber(window) }
  end
end

local function refuse(status, code, message)
  ngx.status = status
  ngx.header["Content-Type"] = "application/json"
  local body = '{"error":{"code":"' .. code .. '","message":"' .. message .. '","requestId":"' .. ngx.var.request_id .. '"}}'
  ngx.header["Content-Length"] = #body
  ngx.print(body)
  return ngx.exit(status)
end

function gate.access()
  local header = ngx.var.http_authorization
  local text = header and header:match("^[Bb]earer (.+)$")
  local key = text and keys[sha256(text)]
  if not key then
    return refuse(401, "unauthorized", "Invalid or expired API key")
  end
  local now = ngx.now()
  local emission = key.window / key.requests
  local arrival = math.max(limits:get(key.id) or now, now)
  local wait = arrival + emission - now - key.window
  ngx.ctx.key, ngx.ctx.now = key, now
  if wait > 0 then
    ngx.ctx.remaining, ngx.ctx.full_at = 0, arrival
    ngx.header["Retry-After"] = math.ceil(wait)
    return refuse(429, "rate_limit_exceeded", "Rate limit exceeded")
  end
  limits:set(key.id, arrival + emission)
  if usage:incr("quota", 1, 0) > 1e15 then
    return refuse(429, "quota_exceeded", "The quota is used up")
  end
  ngx.ctx.remaining = math.floor((key.window - (arrival + emission - now)) / emission)
  ngx.ctx.full_at = arrival + emission
  local set = ngx.req.set_header
  set("X-AuthSome-App-ID", key.application)
  set("X-AuthSome-Workspace-ID", "ws_1")
  set("X-AuthSome-Environment", "production")
  set("X-AuthSome-Key-ID", key.id)
  set("X-AuthSome-Key-Type", "secret")
  set("X-AuthSome-Scopes", "*")
  set("X-AuthSome-Request-ID", ngx.var.request_id)
  set("X-Forwarded-For", ngx.var.remote_addr)
  set("X-Forwarded-Proto", ngx.var.scheme)
  set("X-Forwarded-Host", ngx.var.host)
end

function gate.header()
  local header, key = ngx.header, ngx.ctx.key
  header["X-AuthSome-Request-ID"] = ngx.var.request_id
  if not key then return end
  header["X-AuthSome-App-ID"] = key.application
  header["X-AuthSome-Region"] = "us-east-1"
  header["X-RateLimit-Limit"] = key.requests
  header["X-RateLimit-Remaining"] = ngx.ctx.remaining
  header["X-RateLimit-Reset"] = math.ceil(ngx.ctx.full_at)
  header["RateLimit-Policy"] = '"default";q=' .. key.requests .. ";w=" .. key.window
  header["RateLimit"] = '"default";r=' .. ngx.ctx.remaining .. ";t=" .. math.ceil(ngx.ctx.full_at - ngx.ctx.now)
end

function gate.log()
  local key = ngx.ctx.key
  if key and ngx.status ~= 429 then
    usage:incr(key.id, 1, 0)
    usage:incr("bytes", tonumber(ngx.var.bytes_sent), 0)
  end
end

return gate
