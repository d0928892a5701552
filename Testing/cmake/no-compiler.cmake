# project(ContrastSynth) looks for compilers, which Slicer's own packages need and we do not.
# This lets CMake believe that it has found them.
foreach(language C CXX)
  set(CMAKE_${language}_COMPILER "${CMAKE_COMMAND}")
  set(CMAKE_${language}_COMPILER_ID_RUN TRUE)
  set(CMAKE_${language}_COMPILER_FORCED TRUE)
endforeach()
