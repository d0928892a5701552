# Stands in for Slicer where there is none: lays out the extension's files as Slicer's own
# macros would, so that a test can look at the package. Nothing is compiled.
#
#   cmake -S . -B build/stage-build --toolchain Testing/cmake/no-compiler.cmake \
#         -D Slicer_DIR=<full path of Testing/cmake>
#   cmake --build build/stage-build
#   cmake --install build/stage-build --prefix build/stage

set(Slicer_VERSION "5.12")
set(Slicer_USE_FILE "${CMAKE_CURRENT_LIST_DIR}/UseSlicer.cmake")
set(Slicer_EXTENSION_GENERATE_CONFIG "${CMAKE_CURRENT_LIST_DIR}/CheckExtension.cmake")
set(Slicer_EXTENSION_CPACK "${CMAKE_CURRENT_LIST_DIR}/CheckExtension.cmake")

set(Slicer_QTSCRIPTEDMODULES_LIB_DIR "lib/Slicer-${Slicer_VERSION}/qt-scripted-modules")
set(Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR "./${Slicer_QTSCRIPTEDMODULES_LIB_DIR}")
