# Each from the system where it has one, else the release with this hash.

include(FetchContent)

macro(q4fuse_dependency name url sha256)
  FetchContent_Declare(${name} URL ${url} URL_HASH SHA256=${sha256} DOWNLOAD_EXTRACT_TIMESTAMP ON FIND_PACKAGE_ARGS)
  FetchContent_MakeAvailable(${name})
  FetchContent_GetProperties(${name} POPULATED fetched)
  if(fetched)
    # So that a find_package further down finds the targets that exist now.
    string(TOLOWER ${name} lower_name)
    file(WRITE ${CMAKE_FIND_PACKAGE_REDIRECTS_DIR}/${lower_name}-config.cmake "")
  endif()
endmacro()

q4fuse_dependency(CLI11
  https://github.com/CLIUtils/CLI11/archive/refs/tags/v2.3.2.tar.gz
  aac0ab42108131ac5d3344a9db0fdf25c4db652296641955720a4fbe52334e22)
q4fuse_dependency(nlohmann_json
  https://github.com/nlohmann/json/releases/download/v3.11.3/json.tar.xz
  d6c65aca6b1ed68e7a182f4757257b107ae403032760ed6ef121c9d55e81757d)
if(Q4FUSE_BUILD_TESTS)
  set(INSTALL_GTEST OFF)
  q4fuse_dependency(GTest
    https://github.com/google/googletest/archive/refs/tags/v1.14.0.tar.gz
    8ad598c73ad796e0d8280b082cebd82a630d73e73cd3c70057938a6501bba5d7)
endif()
if(Q4FUSE_BUILD_BENCH)
  set(BENCHMARK_ENABLE_TESTING OFF)
  set(BENCHMARK_ENABLE_INSTALL OFF)
  q4fuse_dependency(benchmark
    https://github.com/google/benchmark/archive/refs/tags/v1.8.3.tar.gz
    6bc180a57d23d4d9515519f92b0c83d61b05b5bab188961f36ac7b06b0d9e9ce)
endif()
